import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { bodyLength } from '../../upstream/body.ts';

/** Prepares the connection of a request for an answer that ends before the request's body. */
export type LingerFor = (incoming: IncomingMessage) => void;

/**
 * Makes connections close in two steps while a request body still arrives (RFC 9112 §9.6): first the
 * side that sends, and when the body has ended, the rest. Bytes that arrive on a closed connection
 * make the system reset it, and a reset may take the answer from a caller that has not read it yet.
 *
 * Node's server closes a connection after its last answer by `destroySoon`. The listener bounds how
 * long a body is read after its answer.
 */
export function makeLingerFor(): LingerFor {
  const latest = new WeakMap<Socket, IncomingMessage>();

  function prepare(socket: Socket): void {
    const destroySoon = socket.destroySoon.bind(socket);
    socket.destroySoon = () => {
      const incoming = latest.get(socket);
      if (incoming === undefined || incoming.complete || incoming.destroyed) return destroySoon();
      incoming.once('end', destroySoon);
      socket.end();
    };
  }

  return (incoming) => {
    if (bodyLength(incoming) === 0) return;
    const { socket } = incoming;
    if (!latest.has(socket)) prepare(socket);
    latest.set(socket, incoming);
  };
}
