import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../../telemetry/log.ts';
import type { Clock } from '../../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';
import { addressOf, connectionKey } from './caller-address.ts';
import { ConnectionsByAddress, type Connection } from './connections-by-address.ts';
import type { IsTrustedProxy } from '../identify/trusted-proxies.ts';

/**
 * A server whose connections are followed, and which sockets carry its requests: those of its
 * connections, those of their TLS, or (`either`) first the one and then the other.
 */
export interface FollowedServer {
  readonly server: Server;
  readonly carriedBy: 'connection' | 'tls' | 'either';
}

/** The open connections of callers. */
export interface Connections {
  readonly open: number;
  /** Since the start. */
  readonly refused: Readonly<RefusedConnections>;
  /**
   * States that a connection carries no requests of its own any more: it begins TLS, or became a
   * tunnel, which is never idle.
   */
  handOver(socket: Socket, to: 'tls' | 'tunnel'): void;
  /** Ends each connection that is not in `busy`, after the bytes written to it have left. */
  endIdle(busy: ReadonlySet<Socket>): void;
  /** Breaks every connection, also those that are still in their TLS handshake. */
  destroyAll(): void;
}

/** How many connections were closed, by the bound that was exceeded. */
export interface RefusedConnections {
  /** There were too many connections in all: the new one was closed, or an idle one for it. */
  all: number;
  /** There were too many connections of one address: the new one was closed. */
  address: number;
}

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
}

export interface ConnectionsDependencies extends ConnectionLimits {
  readonly isTrustedProxy: IsTrustedProxy;
  /** Whether a socket carries no call. */
  readonly isIdle: (socket: Socket) => boolean;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

interface OpenSocket extends LinkedListItem<OpenSocket> {
  readonly socket: Socket;
  /** The socket that carries requests now, if any does. */
  carrier: Socket | undefined;
  /** Absent for connections of trusted proxies. */
  connection: Connection | undefined;
}

/**
 * Follows the connections of servers, which share the bounds. Ends each whose idle timeout has
 * expired, and closes some when there are too many. Connections take file descriptors, which the
 * sockets to the API, Redis and the admin listener need too.
 *
 * When there are too many of one address, a new one is closed at once. When there are too many in
 * all, the address that has most loses its oldest idle one to a new one of an address that has
 * fewer. So a flood from one address does not shut the others out. Callers may open a connection
 * for each call, so every decision takes O(1).
 */
export function followConnections(
  servers: readonly FollowedServer[],
  {
    maxConnections,
    maxConnectionsPerAddress,
    isTrustedProxy,
    isIdle,
    clock,
    log,
  }: ConnectionsDependencies,
): Connections {
  const refused: RefusedConnections = { all: 0, address: 0 };
  const byAddress = new ConnectionsByAddress();
  const accepted = new LinkedList<OpenSocket>();
  /** Where TLS carries the requests, by connection. */
  const withTls = new Map<string, OpenSocket>();
  const tunnels = new WeakSet<Socket>();
  const mayWarn = makeOncePerMinute(clock);
  let reported: RefusedConnections = { ...refused };

  function report(lastAddress: string): void {
    if (!mayWarn()) return;
    const counts = {
      tooManyInAll: refused.all - reported.all,
      tooManyOfOneAddress: refused.address - reported.address,
    };
    reported = { ...refused };
    log.warn(
      { ...counts, lastAddress, open: accepted.size, maxConnections, maxConnectionsPerAddress },
      'connections refused',
    );
  }

  /** Whether there is room for a connection of an address that has `count` of them. */
  function hasRoom(count: number, lastAddress: string): boolean {
    if (accepted.size < maxConnections) return true;
    refused.all++;
    const oldest = count + 1 < byAddress.most ? byAddress.oldestIdle(isConnectionIdle) : undefined;
    if (oldest !== undefined) {
      byAddress.delete(oldest);
      oldest.socket.destroy();
    }
    report(lastAddress);
    return oldest !== undefined;
  }

  function isConnectionIdle({ carrier }: Connection): boolean {
    return carrier === undefined || (!tunnels.has(carrier) && isIdle(carrier));
  }

  /** Whether a new connection is within the bounds. */
  function mayOpen(address: string, isProxy: boolean): boolean {
    // Many callers share the address of a proxy, so its connections are not counted.
    if (isProxy) return hasRoom(0, address);
    const count = byAddress.countOf(address);
    if (count >= maxConnectionsPerAddress) {
      refused.address++;
      report(address);
      return false;
    }
    return hasRoom(count, address);
  }

  function accept(socket: Socket, carriedBy: FollowedServer['carriedBy']): void {
    const address = addressOf(socket);
    const isProxy = isTrustedProxy(socket.remoteAddress);
    if (!mayOpen(address, isProxy)) return void socket.destroy();
    // With TLS, a connection is accepted before its handshake, and carries requests after it.
    const carrier = carriedBy === 'tls' ? undefined : socket;
    const links = { isLinked: false, previous: undefined, next: undefined };
    const connection = isProxy ? undefined : { socket, address, carrier, ...links };
    if (connection !== undefined) byAddress.add(connection);
    const open: OpenSocket = { socket, carrier, connection, ...links };
    accepted.add(open);
    const key = carriedBy === 'connection' ? undefined : connectionKey(socket);
    if (key !== undefined) withTls.set(key, open);
    socket.once('close', () => {
      accepted.delete(open);
      if (connection !== undefined) byAddress.delete(connection);
      if (key !== undefined) withTls.delete(key);
    });
  }

  function carry(open: OpenSocket | undefined, carrier: Socket | undefined): void {
    if (open === undefined) return;
    open.carrier = carrier;
    if (open.connection !== undefined) open.connection.carrier = carrier;
  }

  for (const { server, carriedBy } of servers) {
    server.on('connection', (socket: Socket) => accept(socket, carriedBy));
    if (carriedBy !== 'connection') {
      server.on('secureConnection', (socket: Socket) => {
        carry(withTls.get(connectionKey(socket)), socket);
      });
    }
    // Timers run before sockets are read. A request that arrived just before the timeout may still be
    // unread, and closing its socket would reset it. So the socket is read once before the decision.
    server.on('timeout', (socket) => {
      const { bytesRead } = socket;
      setImmediate(() => {
        if (socket.bytesRead === bytesRead) socket.destroy();
      });
    });
  }

  return {
    get open() {
      return accepted.size;
    },
    refused,
    handOver(socket, to) {
      if (to === 'tunnel') tunnels.add(socket);
      carry(withTls.get(connectionKey(socket)), to === 'tunnel' ? socket : undefined);
    },
    endIdle(busy) {
      for (const { carrier } of accepted.all) {
        if (carrier === undefined || busy.has(carrier) || tunnels.has(carrier)) continue;
        carrier.destroySoon();
      }
    },
    destroyAll() {
      for (const { socket } of accepted.all) socket.destroy();
    },
  };
}
