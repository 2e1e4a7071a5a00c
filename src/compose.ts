import { randomBytes, randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { composeAdmin } from './compose-admin.ts';
import type { Config, Shown } from './config/config.ts';
import type { ListenAddress } from './config/values.ts';
import { ClockOffset } from './core/clock-offset.ts';
import type { Chance, Clock } from './core/clock.ts';
import { isLoopback, makeIsOurHost } from './core/site.ts';
import { makeAdmit } from './gateway/admit.ts';
import { makeCallerOfKey } from './gateway/caller-keys.ts';
import { makeCredentialHash } from './gateway/credential.ts';
import { makeEndOfTurn } from './gateway/end-of-turn.ts';
import { makeForward } from './gateway/forward.ts';
import { makeGateway } from './gateway/gateway.ts';
import { makeIdentify } from './gateway/identify.ts';
import { makeListener } from './gateway/listener.ts';
import { makeRecord } from './gateway/record.ts';
import { makeRefuse, makeRespond } from './gateway/respond.ts';
import { makeRefuseWebPages } from './gateway/same-site.ts';
import { makeSettle } from './gateway/settle.ts';
import { MemoryLedger } from './ledger/memory-ledger.ts';
import { logCalls, toAll } from './telemetry/call-line.ts';
import { Feed } from './telemetry/feed.ts';
import { LedgerWatch } from './telemetry/ledger-watch.ts';
import type { Log } from './telemetry/log.ts';
import { makeMetrics } from './telemetry/metrics.ts';
import type { WalkObserver } from './telemetry/walk-observer.ts';
import { makeLane } from './upstream/lane.ts';
import { makeTokenSource } from './upstream/token.ts';
import { makeUpstream } from './upstream/upstream.ts';

export interface ComposeOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly log: Log;
  readonly replica: string;
  /** The settings in force, secrets masked, for operators to see. */
  readonly settings?: readonly Shown[];
  readonly version?: string;
  /** Log lines that were dropped because their reader stalled. */
  readonly logLinesLost?: () => number;
  /** Whether metrics watch the process too; once in a process, as that ends only with it. */
  readonly processFigures?: boolean;
}

/** A gateway that listens. */
export interface RunningGateway {
  /** Where callers connect: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Where operators connect; `undefined` when that is off. */
  readonly adminUrl: string | undefined;
  /**
   * Is not ready from now on, and has every answer close its connection; after `delayMs`, in which
   * load balancers learn of it, accepts no more. Lets what can finish within the drain timeout
   * finish, sheds the rest, and closes everything. Resolves when nothing is open any more.
   */
  stop(options?: { readonly delayMs?: number }): Promise<void>;
}

/** After the drain timeout, this long for the last refusals to go out. */
const LAST_WORDS_MS = 500;

/** Constructs every part, starts listening, and knows how to close it all in reverse order. */
export async function compose(options: ComposeOptions): Promise<RunningGateway> {
  const { config, clock, chance, log, replica } = options;
  const closers: (() => unknown)[] = [];
  const apiClock = new ClockOffset();
  const ledgerWatch = new LedgerWatch();

  const upstream = makeUpstream({ ...config.upstream, clock });
  closers.push(() => upstream.close());
  const lane = makeLane(config.lane);
  closers.push(() => lane.close());
  const token = makeTokenSource(config.token, log);
  closers.push(() => token.close());
  const ledger = new MemoryLedger({
    clock,
    chance,
    apiClock,
    places: upstream,
    maxQueue: config.maxQueue,
    belief: config.limit,
  });
  closers.push(() => ledger.close());

  const { processFigures = false, settings = [], version = '', logLinesLost = () => 0 } = options;
  const feed = new Feed(clock);
  const metrics = makeMetrics({
    clock,
    apiClock,
    ledger,
    ledgerWatch,
    laneQueued: () => lane.queued,
    logLinesLost,
    processFigures,
  });
  const observer: WalkObserver = {
    throttled(className) {
      metrics.throttled(className);
      feed.throttled();
    },
    again: (because) => metrics.again(because),
  };
  const recorder = toAll([logCalls(log), metrics.record, feed.record]);
  const newId = randomUUID;
  const { shedStatus } = config;
  const gateway = makeGateway({
    identify: makeIdentify({
      ...config,
      hasToken: config.token.kind !== 'none',
      defaultCaller: config.caller,
      credentialHash: makeCredentialHash(randomBytes(32)),
      callerOfKey:
        config.callerKeys.length === 0
          ? undefined
          : makeCallerOfKey(config.callerKeys, randomBytes(32)),
      refuseWebPages: makeRefuseWebPages(
        makeIsOurHost([
          ...config.hosts,
          config.listen.host,
          new URL(config.upstream.origin).hostname,
        ]),
      ),
    }),
    admit: makeAdmit({ ledger, clock }),
    forward: makeForward({ upstream, lane, clock, token: () => token.current() }),
    settle: makeSettle({ ledger, apiClock, clock, chance, log, observer }),
    respond: makeRespond({ atEndOfTurn: makeEndOfTurn() }),
    refuse: makeRefuse({ log }),
    record: makeRecord({ recorder, ledger, clock, pathMasks: config.pathMasks }),
    ledger,
    observer,
    clock,
    newId,
    retries: config.retries,
    shedStatus,
  });
  const listener = makeListener({ gateway, recorder, clock, newId, shedStatus });
  closers.push(() => listener.server.closeAllConnections());

  let draining = false;
  let adminUrl: string | undefined;
  try {
    if (config.adminListen !== 'off') {
      const admin = composeAdmin({
        auth: {
          token: () => config.adminToken,
          beyondLoopback: !isLoopback(config.adminListen.host),
          isOurHost: makeIsOurHost(config.hosts),
        },
        clock,
        ledger,
        ledgerWatch,
        metrics,
        feed,
        settings,
        isDraining: () => draining,
        replica,
        version,
      });
      closers.push(() => admin.close());
      adminUrl = await listen(admin.server, config.adminListen);
      closers.push(() => closeServer(admin.server));
    }
    const url = await listen(listener.server, config.listen);
    log.info(
      { url, adminUrl, upstream: config.upstream.origin + config.upstream.basePath },
      'listening',
    );
    return { url, adminUrl, stop };
  } catch (error) {
    await closeAll();
    throw error;
  }

  async function closeAll(): Promise<void> {
    for (const close of closers.toReversed()) await close();
  }

  async function stop({ delayMs = 0 } = {}): Promise<void> {
    draining = true;
    listener.retire();
    const { drainTimeoutMs } = config;
    log.info({ inFlight: listener.inFlight, delayMs, drainTimeoutMs }, 'draining');
    ledger.drain(clock.now() + delayMs + drainTimeoutMs);
    if (delayMs > 0) await passed(clock, delayMs);
    const finished = listener.drain();
    const inTime = await within(clock, drainTimeoutMs, finished);
    if (!inTime) {
      // What the API still owes will not come: every caller hears so, and every line is written.
      await upstream.close();
      await within(clock, LAST_WORDS_MS, finished);
    }
    await closeAll();
    log.info({ inTime }, 'stopped');
  }
}

function passed(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** Resolves to whether `promise` was done within `ms`. */
function within(clock: Clock, ms: number, promise: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve(false));
    void promise.then(() => {
      timer.cancel();
      resolve(true);
    });
  });
}

function listen(server: Server, { host, port }: ListenAddress): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(
        urlOf(typeof address === 'object' && address !== null ? address : { address: host, port }),
      );
    });
  });
}

function urlOf({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
