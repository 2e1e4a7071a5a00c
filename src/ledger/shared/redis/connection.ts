import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { Log } from '../../../telemetry/log.ts';

/** The Redis that the settings name. */
export interface RedisEndpoint {
  readonly topology:
    | { readonly kind: 'single'; readonly at: Host }
    | { readonly kind: 'sentinel'; readonly sentinels: readonly Host[]; readonly master: string }
    | { readonly kind: 'cluster'; readonly nodes: readonly Host[] };
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

interface Host {
  readonly host: string;
  readonly port: number;
}

export interface RedisConnectionOptions {
  readonly address: RedisEndpoint;
  readonly timeoutMs: number;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly log: Log;
}

export type RedisClient = Redis | Cluster;

/** A socket is replaced when a command has had no answer on it for this long. */
const UNRESPONSIVE_MS = 2000;
const CONNECT_MS = 5000;
const RECONNECT_MS = { step: 50, most: 1000 };

/**
 * Opens a connection that fails fast: while it is down no command is queued, no command is sent
 * twice, and it reconnects by itself. The failover ledger handles the failed commands.
 */
export function connectRedis(options: RedisConnectionOptions): RedisClient {
  const { address, ca, cert, key, timeoutMs, log } = options;
  const { topology, db, username, password } = address;
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  const common = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(address.tls ? { tls } : {}),
    connectionName: 'headgate',
    disableClientInfo: true,
    connectTimeout: CONNECT_MS,
    // A reply on a connection that this process ends is of no use.
    disconnectTimeout: timeoutMs,
    socketTimeout: Math.max(UNRESPONSIVE_MS, 2 * timeoutMs),
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // The store subscribes on each connection, and handles the failure. If the client did it by
    // itself, a refusal or a disconnection at that moment would be an unhandled rejection.
    autoResubscribe: false,
    // After a failover the old master may still answer, and refuse to write.
    reconnectOnError: ({ message }: Error) => isReadOnly(message),
  } satisfies RedisOptions;
  const retry = (times: number): number => Math.min(times * RECONNECT_MS.step, RECONNECT_MS.most);
  const client = open();
  client.on('error', (err: Error) => log.debug({ err }, 'redis connection'));
  return client;

  function open(): RedisClient {
    switch (topology.kind) {
      case 'single':
        return new Redis({
          ...common,
          ...topology.at,
          db,
          enableOfflineQueue: false,
          retryStrategy: retry,
        });
      case 'sentinel':
        return new Redis({
          ...common,
          db,
          name: topology.master,
          sentinels: [...topology.sentinels],
          sentinelRetryStrategy: retry,
          ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {}),
          enableOfflineQueue: false,
          retryStrategy: retry,
        });
      case 'cluster':
        return new Cluster([...topology.nodes], {
          redisOptions: common,
          enableOfflineQueue: false,
          clusterRetryStrategy: retry,
          slotsRefreshTimeout: CONNECT_MS,
          slotsRefreshInterval: 5000,
          maxRedirections: 3,
          retryDelayOnFailover: 20,
          retryDelayOnClusterDown: 20,
        });
      default:
        return topology satisfies never;
    }
  }
}

/**
 * Whether an error reply comes from a replica, which does not write. Redis 6.2 wraps the error of a
 * command in one of the script that called it.
 */
export function isReadOnly(message: string): boolean {
  return /^READONLY\b| -READONLY\b/.test(message);
}

/** Closes a connection that may lead to the wrong server, and opens it again. */
export function renew(client: RedisClient): void {
  if (client.status === 'ready') client.disconnect(true);
}

/** Reconnects a client that has stopped for good, as it does during some failovers. */
export function revive(client: RedisClient, log: Log): void {
  if (client.status !== 'end') return;
  client.connect().catch((err: unknown) => log.debug({ err }, 'redis connection'));
}
