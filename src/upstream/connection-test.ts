import { Socket } from 'node:net';

/**
 * Finds out whether a connection is broken that is not read, which reports nothing by itself. Node
 * closes the socket if it is. A write of no bytes sends nothing, but fails if the other side has reset
 * the connection or has stopped answering TCP keep-alive. With TLS, such a write does not reach the
 * connection below, and delivers bytes that have arrived; so it is made to the connection itself.
 */
export function testConnection(socket: Socket, onTested: () => void = () => undefined): void {
  const below = '_parent' in socket && socket._parent instanceof Socket ? socket._parent : socket;
  below.write('', onTested);
}
