import type { Socket } from 'node:net';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';

/** An open connection of a caller. */
export interface Connection extends LinkedListItem<Connection> {
  readonly socket: Socket;
  readonly address: string;
  /** The socket that carries requests or a tunnel: with TLS another one, known after the handshake. */
  carrier: Socket | undefined;
}

interface Address extends LinkedListItem<Address> {
  /** In the order of their arrival, except those that were found busy: they are at the end. */
  readonly connections: LinkedList<Connection>;
}

/** Addresses without a connection are kept up to this number, and then removed together. */
const MAX_EMPTY = 1000;
/** How many connections are looked at for an idle one. */
const MAX_LOOKS = 16;

/**
 * The open connections of each address, and the address that has most. All operations take O(1),
 * since callers may open a connection for each call. An address without connections stays for a
 * while, because its removal would replace the Map's table again and again (docs/decisions/0009).
 */
export class ConnectionsByAddress {
  readonly #byName = new Map<string, Address>();
  /** At position n, the addresses with n connections. */
  readonly #withCount: LinkedList<Address>[] = [new LinkedList()];
  #most = 0;

  /** How many addresses are kept. */
  get addresses(): number {
    return this.#byName.size;
  }

  /** How many the address has that has most. */
  get most(): number {
    return this.#most;
  }

  countOf(name: string): number {
    return this.#byName.get(name)?.connections.size ?? 0;
  }

  add(connection: Connection): void {
    let address = this.#byName.get(connection.address);
    if (address === undefined) {
      const links = { isLinked: false, previous: undefined, next: undefined };
      address = { connections: new LinkedList(), ...links };
      this.#byName.set(connection.address, address);
    }
    this.#withCount[address.connections.size]?.delete(address);
    address.connections.add(connection);
    this.#place(address);
  }

  /** Removes a connection, if it was not removed before. */
  delete(connection: Connection): void {
    const address = this.#byName.get(connection.address);
    if (address === undefined || !connection.isLinked) return;
    this.#withCount[address.connections.size]?.delete(address);
    address.connections.delete(connection);
    this.#place(address);
    this.#forgetEmpty();
  }

  /**
   * The oldest connection for which `isIdle` is true, of an address that has most; `undefined` if the
   * first ones that it looks at are busy.
   */
  oldestIdle(isIdle: (connection: Connection) => boolean): Connection | undefined {
    const connections = this.#withCount[this.#most]?.first?.connections;
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const connection = connections?.first;
      if (connection === undefined || isIdle(connection)) return connection;
      // Further looks find others first.
      connections?.delete(connection);
      connections?.add(connection);
    }
    return undefined;
  }

  /** Puts an address to those with as many connections, after a change by one. */
  #place(address: Address): void {
    const { size } = address.connections;
    (this.#withCount[size] ??= new LinkedList()).add(address);
    if (size > this.#most) this.#most = size;
    else if (this.#withCount[this.#most]?.size === 0) this.#most--;
  }

  #forgetEmpty(): void {
    const empty = this.#withCount[0];
    if (empty === undefined || empty.size <= Math.max(MAX_EMPTY, this.#byName.size / 2)) return;
    for (const [name, address] of this.#byName) {
      if (address.connections.size > 0) continue;
      empty.delete(address);
      this.#byName.delete(name);
    }
  }
}
