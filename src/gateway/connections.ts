import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';

/** The open connections of callers. */
export interface Connections {
  /** Ends each connection that is not in `busy`, after the bytes written to it have left. */
  endIdle(busy: ReadonlySet<Socket>): void;
  /** Breaks every connection, also those that are still in their TLS handshake. */
  destroyAll(): void;
}

interface Connection extends LinkedListItem<Connection> {
  readonly socket: Socket;
}

/**
 * Follows the connections of a server, and ends each whose idle timeout has expired. Callers may
 * open a connection for each call, hence the linked list (docs/decisions/0009).
 */
export function followConnections(server: Server, isTls: boolean): Connections {
  const open = openSockets(server, isTls ? 'secureConnection' : 'connection');
  // With TLS, a connection is accepted before its handshake, and carries one of `open` after it.
  const accepted = isTls ? openSockets(server, 'connection') : open;

  // Timers run before sockets are read. A request that arrived just before the timeout may still be
  // unread, and closing its socket would reset it. So the socket is read once before the decision.
  server.on('timeout', (socket) => {
    const { bytesRead } = socket;
    setImmediate(() => {
      if (socket.bytesRead === bytesRead) socket.destroy();
    });
  });

  return {
    endIdle(busy) {
      for (const { socket } of open.all) if (!busy.has(socket)) socket.destroySoon();
    },
    destroyAll() {
      for (const { socket } of accepted.all) socket.destroy();
    },
  };
}

function openSockets(
  server: Server,
  event: 'connection' | 'secureConnection',
): LinkedList<Connection> {
  const open = new LinkedList<Connection>();
  server.on(event, (socket: Socket) => {
    const connection = { socket, isLinked: false, previous: undefined, next: undefined };
    open.add(connection);
    socket.once('close', () => open.delete(connection));
  });
  return open;
}
