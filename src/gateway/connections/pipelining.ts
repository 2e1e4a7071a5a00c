import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { testConnection } from '../../upstream/connection-test.ts';
import type { RequestMemory } from '../../upstream/request-memory.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import { addressOf } from './caller-address.ts';
import { requestBytes, unreadBodyBytes } from './request-bytes.ts';

/** The requests of each connection that arrived before the one in front of them was answered. */
export interface Pipelining {
  /**
   * Runs `start` when the answers in front of this request have ended: at once for the first request
   * of a connection. Drops it if the connection closes before.
   */
  inTurn(incoming: IncomingMessage, outgoing: ServerResponse, start: () => void): void;
  /** Whether the last held request of a connection has not arrived completely. */
  isIncomplete(socket: object): boolean;
}

export interface PipeliningDependencies {
  readonly memory: RequestMemory;
  readonly clock: Clock;
}

/**
 * A connection that holds this much is not read any further. Below it, the end of the connection is
 * noticed at once.
 */
const MAX_HELD_BYTES = 256 * 1024;
/** How often a connection that is not read is tested. */
const CHECK_EVERY_MS = 1000;

interface Held extends LinkedListItem<Held> {
  readonly incoming: IncomingMessage;
  readonly bytes: number;
  readonly release: () => void;
}

/**
 * Starts the requests of one connection one after the other. A caller that pipelines (RFC 9112
 * §9.3.2) would otherwise have as many calls as it can write, over a single connection.
 *
 * Node's parser reports every request of a chunk of up to 64 KiB, so some are held here. They count
 * against the memory of waiting requests. When it is full, the connection that holds most is closed.
 */
export function makePipelining({ memory, clock }: PipeliningDependencies): Pipelining {
  const connections = new WeakMap<object, HeldRequests>();

  function heldOf(socket: Socket): HeldRequests {
    let held = connections.get(socket);
    if (held === undefined) {
      held = new HeldRequests(socket, clock);
      connections.set(socket, held);
    }
    return held;
  }

  return {
    inTurn(incoming, outgoing, start) {
      if (outgoing.socket !== null) return start();
      const { socket } = incoming;
      if (socket.destroyed) return;
      const bytes = requestBytes(incoming) + unreadBodyBytes(incoming);
      // Each connection is a flow of its address, so that the one which holds most is closed.
      const flow = `pipelined ${socket.remotePort}`;
      const reservation = memory.reserve(addressOf(socket), flow, {
        evict: () => socket.destroy(),
      });
      const held = heldOf(socket);
      const request: Held = {
        incoming,
        bytes,
        release: () => reservation.release(),
        isLinked: false,
        previous: undefined,
        next: undefined,
      };
      held.add(request);
      // Node gives the socket to a response when the one in front of it has ended.
      outgoing.once('socket', () => {
        held.remove(request);
        start();
      });
      reservation.grow(bytes);
    },
    isIncomplete: (socket) => connections.get(socket)?.isIncomplete === true,
  };
}

/** The held requests of one connection, which is read only while they are few. */
class HeldRequests {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #requests = new LinkedList<Held>();
  #bytes = 0;
  #checking: Timer | undefined;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    socket.once('close', () => {
      this.#checking?.cancel();
      for (const request of this.#requests.all) this.remove(request);
    });
    // Node resumes the socket after each message. This listener runs after Node's own, which has
    // just started to read, and stops it before a byte is read.
    socket.on('resume', () => this.#pause());
  }

  get isIncomplete(): boolean {
    return this.#requests.last?.incoming.complete === false;
  }

  add(request: Held): void {
    const { isFull } = this;
    this.#requests.add(request);
    this.#bytes += request.bytes;
    if (!isFull) this.#pause();
  }

  remove(request: Held): void {
    const { isFull } = this;
    if (!this.#requests.delete(request)) return;
    this.#bytes -= request.bytes;
    request.release();
    if (isFull && !this.isFull) this.#resume();
  }

  get isFull(): boolean {
    return this.#bytes >= MAX_HELD_BYTES;
  }

  #pause(): void {
    if (!this.isFull) return;
    this.#socket.pause();
    this.#checking ??= this.#clock.after(CHECK_EVERY_MS, () => this.#check());
  }

  #check(): void {
    this.#checking = undefined;
    if (this.#socket.destroyed) return;
    testConnection(this.#socket);
    this.#checking = this.#clock.after(CHECK_EVERY_MS, () => this.#check());
  }

  #resume(): void {
    this.#checking?.cancel();
    this.#checking = undefined;
    if (!this.#socket.destroyed) this.#socket.resume();
  }
}
