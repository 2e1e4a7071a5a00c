import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../telemetry/log.ts';
import type { Clock } from '../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import { addressOf } from './caller-address.ts';
import { ConnectionsByAddress, type Connection } from './connections-by-address.ts';
import type { IsTrustedProxy } from './trusted-proxies.ts';

/** The open connections of callers. */
export interface Connections {
  readonly open: number;
  /** Connections that were closed, by the bound that was exceeded, since the start. */
  readonly refused: Readonly<RefusedConnections>;
  /** Ends each connection that is not in `busy`, after the bytes written to it have left. */
  endIdle(busy: ReadonlySet<Socket>): void;
  /** Breaks every connection, also those that are still in their TLS handshake. */
  destroyAll(): void;
}

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
  readonly isTls: boolean;
  readonly isTrustedProxy: IsTrustedProxy;
  /** Whether a socket carries no call. */
  readonly isIdle: (socket: Socket) => boolean;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

interface OpenSocket extends LinkedListItem<OpenSocket> {
  readonly socket: Socket;
}

/** A flood of connections is reported at most this often. */
const WARN_INTERVAL_MS = 60_000;

/**
 * Follows the connections of a server, ends each whose idle timeout has expired, and closes some when
 * there are too many. They take file descriptors, which the sockets to the API, Redis and the admin
 * listener need too.
 *
 * When there are too many of one address, a new one is closed at once. When there are too many in
 * all, the oldest idle one of the address that has most is closed for a new one of an address that
 * has fewer: a flood from one address must not shut the others out. Callers may open a connection
 * for each call, so every decision takes O(1).
 */
export function followConnections(
  server: Server,
  {
    isTls,
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
  /** With TLS, by address and port: nothing else relates a socket to the one that it becomes. */
  const handshakes = new Map<string, Connection>();
  let quietUntil = Number.NEGATIVE_INFINITY;
  let reported: RefusedConnections = { ...refused };

  function report(lastAddress: string): void {
    const now = clock.now();
    if (now < quietUntil) return;
    quietUntil = now + WARN_INTERVAL_MS;
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
    return carrier === undefined || isIdle(carrier);
  }

  // With TLS, a connection is accepted before its handshake, and carries one of `open` after it.
  const accepted = openSockets(server, 'connection', (socket) => {
    const address = addressOf(socket);
    // Many callers share the address of a proxy, so its connections are not counted.
    if (isTrustedProxy(socket.remoteAddress)) return hasRoom(0, address) || refuse(socket);
    const count = byAddress.countOf(address);
    if (count >= maxConnectionsPerAddress) {
      refused.address++;
      report(address);
      return refuse(socket);
    }
    if (!hasRoom(count, address)) return refuse(socket);
    follow(socket, address);
    return true;
  });

  function refuse(socket: Socket): false {
    socket.destroy();
    return false;
  }

  function follow(socket: Socket, address: string): void {
    const carrier = isTls ? undefined : socket;
    const links = { isLinked: false, previous: undefined, next: undefined };
    const connection: Connection = { socket, address, carrier, ...links };
    byAddress.add(connection);
    socket.once('close', () => byAddress.delete(connection));
    if (!isTls) return;
    const key = keyOf(socket);
    handshakes.set(key, connection);
    socket.once('close', () => handshakes.delete(key));
  }

  function carry(socket: Socket): true {
    const connection = handshakes.get(keyOf(socket));
    if (connection !== undefined) connection.carrier = socket;
    return true;
  }

  const open = isTls ? openSockets(server, 'secureConnection', carry) : accepted;

  // Timers run before sockets are read. A request that arrived just before the timeout may still be
  // unread, and closing its socket would reset it. So the socket is read once before the decision.
  server.on('timeout', (socket) => {
    const { bytesRead } = socket;
    setImmediate(() => {
      if (socket.bytesRead === bytesRead) socket.destroy();
    });
  });

  return {
    get open() {
      return accepted.size;
    },
    refused,
    endIdle(busy) {
      for (const { socket } of open.all) if (!busy.has(socket)) socket.destroySoon();
    },
    destroyAll() {
      for (const { socket } of accepted.all) socket.destroy();
    },
  };
}

/** The open sockets of those for which `accept` returns true. */
function openSockets(
  server: Server,
  event: 'connection' | 'secureConnection',
  accept: (socket: Socket) => boolean,
): LinkedList<OpenSocket> {
  const open = new LinkedList<OpenSocket>();
  server.on(event, (socket: Socket) => {
    if (!accept(socket)) return;
    const connection = { socket, isLinked: false, previous: undefined, next: undefined };
    open.add(connection);
    socket.once('close', () => open.delete(connection));
  });
  return open;
}

function keyOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
