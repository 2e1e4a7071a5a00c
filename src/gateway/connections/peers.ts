import type { Socket } from 'node:net';
import { addressOf, connectionKey, plainAddress } from './caller-address.ts';

/**
 * Who is at the other end of each connection: the client that a trusted proxy named by the PROXY
 * protocol, else the address that connected.
 */
export class Peers {
  readonly #named = new Map<string, string>();
  readonly #withoutAddress: string;

  /** `withoutAddress` stands for connections by a Unix socket, and for those that have closed. */
  constructor(withoutAddress = 'unknown') {
    this.#withoutAddress = withoutAddress;
  }

  /** States that the connection is one of the client at `address`. */
  name(socket: Socket, address: string): void {
    const key = connectionKey(socket);
    this.#named.set(key, plainAddress(address));
    socket.once('close', () => this.#named.delete(key));
  }

  of(socket: Socket): string {
    if (socket.remoteAddress === undefined) return this.#withoutAddress;
    if (this.#named.size === 0) return addressOf(socket);
    return this.#named.get(connectionKey(socket)) ?? addressOf(socket);
  }
}
