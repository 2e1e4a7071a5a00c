import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../telemetry/log.ts';
import type { Clock } from '../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import { NameCounts } from '../util/name-counts.ts';
import { addressOf } from './caller-address.ts';
import type { IsTrustedProxy } from './trusted-proxies.ts';

/** The open connections of callers. */
export interface Connections {
  readonly open: number;
  /** Connections that were closed at once, by the bound that they exceeded, since the start. */
  readonly refused: Readonly<RefusedConnections>;
  /** Ends each connection that is not in `busy`, after the bytes written to it have left. */
  endIdle(busy: ReadonlySet<Socket>): void;
  /** Breaks every connection, also those that are still in their TLS handshake. */
  destroyAll(): void;
}

export interface RefusedConnections {
  /** There were too many connections in all. */
  all: number;
  /** There were too many connections of one address. */
  address: number;
}

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
}

export interface ConnectionsDependencies extends ConnectionLimits {
  readonly isTls: boolean;
  readonly isTrustedProxy: IsTrustedProxy;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

interface Connection extends LinkedListItem<Connection> {
  readonly socket: Socket;
}

/** A flood of connections is reported at most this often. */
const WARN_INTERVAL_MS = 60_000;

/**
 * Follows the connections of a server, ends each whose idle timeout has expired, and closes new ones
 * at once when there are too many. They take file descriptors, which the sockets to the API, Redis
 * and the admin listener need too. Callers may open a connection for each call, hence the linked
 * list (docs/decisions/0009).
 */
export function followConnections(
  server: Server,
  {
    isTls,
    maxConnections,
    maxConnectionsPerAddress,
    isTrustedProxy,
    clock,
    log,
  }: ConnectionsDependencies,
): Connections {
  const refused: RefusedConnections = { all: 0, address: 0 };
  const perAddress = new NameCounts();
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

  // Node closes further connections before it makes a socket of them.
  server.maxConnections = maxConnections;
  server.on('drop', (dropped) => {
    refused.all++;
    report(dropped?.remoteAddress ?? 'unknown');
  });

  // With TLS, a connection is accepted before its handshake, and carries one of `open` after it.
  const accepted = openSockets(server, 'connection', (socket) => {
    // Many callers share the address of a proxy.
    if (isTrustedProxy(socket.remoteAddress)) return true;
    const address = addressOf(socket);
    if (perAddress.of(address) >= maxConnectionsPerAddress) {
      refused.address++;
      socket.destroy();
      report(address);
      return false;
    }
    perAddress.add(address);
    socket.once('close', () => perAddress.subtract(address));
    return true;
  });
  const open = isTls ? openSockets(server, 'secureConnection', () => true) : accepted;

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
): LinkedList<Connection> {
  const open = new LinkedList<Connection>();
  server.on(event, (socket: Socket) => {
    if (!accept(socket)) return;
    const connection = { socket, isLinked: false, previous: undefined, next: undefined };
    open.add(connection);
    socket.once('close', () => open.delete(connection));
  });
  return open;
}
