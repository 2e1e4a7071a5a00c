import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { bodyLength } from '../../upstream/body.ts';
import type { Clock, Timer } from '../../util/clock.ts';

/** A server, and the event by which it gets sockets that carry requests. */
export interface Carrier {
  readonly server: Server;
  readonly event: 'connection' | 'secureConnection';
}

/** What is known of the requests of each connection. */
export interface ConnectionRequests {
  /** Notes that a request has arrived, so that its caller may end its side of the connection. */
  readonly noteArrival: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** Forgets a request whose answer has left, with all that it keeps in memory. */
  readonly noteEnd: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** Forgets a connection that carries no requests any more. */
  readonly leave: (socket: Socket) => void;
  /** Whether all requests of a connection have their answers. */
  readonly isIdle: (socket: Socket) => boolean;
}

/** The requests of a connection, as far as the end of its caller's side depends on them. */
interface Requests {
  /** When the latest one arrived, in turns of the event loop. */
  turn: number;
  /** The answer of the latest one, until it has left. */
  latest: ServerResponse | undefined;
  /** The answer of the one that is under way, until it has left. */
  current: ServerResponse | undefined;
}

/** How many turns after a request the end of its caller's side still belongs to it. */
const TURNS = 2;
/** A caller whose connection is in doubt is tested after this time, then after twice the time … */
const FIRST_TEST_MS = 50;
/** … and at least this often. */
const TEST_EVERY_MS = 1000;
/** How long a caller is in doubt at most while no byte of its answer can show whether it is there. */
const MAX_DOUBT_MS = 5000;

/**
 * Lets callers end their side of a connection behind a request, as `printf … | nc` does, and still
 * receive the answer (RFC 9112 §9.6).
 *
 * A caller that has disconnected ends its side as well, and must leave its queue at once. TCP
 * distinguishes the two only when bytes are sent: the system of one that has disconnected resets the
 * connection. An end that arrives together with the request counts as a half close. After a later
 * one, Headgate sends `100 Continue`, which every client of HTTP/1.1 discards (RFC 9110 §15.2.1), and
 * tests whether the connection was reset. HTTP/1.0 has no interim answers, so there a later end
 * counts as a disconnection. Once the head has left, the bytes of the answer are the test. A caller
 * that disconnects after it has read the interim answer is noticed only with the answer.
 */
export function allowHalfClose(carriers: readonly Carrier[], clock: Clock): ConnectionRequests {
  const connections = new WeakMap<Socket, Requests>();
  let turn = 0;
  let turnsLeft = 0;

  /** Counts turns only while requests arrive. */
  function countTurn(): void {
    turn++;
    turnsLeft--;
    if (turnsLeft > 0) setImmediate(countTurn);
  }

  function currentTurn(): number {
    if (turnsLeft === 0) setImmediate(countTurn);
    turnsLeft = TURNS;
    return turn;
  }

  function follow(socket: Socket): void {
    const requests: Requests = { turn: -TURNS, latest: undefined, current: undefined };
    connections.set(socket, requests);
    socket.once('end', () => {
      if (connections.get(socket) !== requests || turn - requests.turn < TURNS) return;
      const { latest, current = latest } = requests;
      if (latest === undefined || current === undefined || latest.writableEnded) socket.end();
      else testWhetherOpen(socket, current, clock);
    });
  }

  for (const { server, event } of carriers) {
    // Node's own setting: without it, the server ends the connection as soon as the caller does.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on(event, follow);
  }

  return {
    noteArrival(incoming, outgoing) {
      const requests = connections.get(incoming.socket);
      if (requests === undefined) return;
      requests.turn = currentTurn();
      requests.latest = outgoing;
      // A pipelined request has no socket until the answers in front of it have ended.
      if (outgoing.socket !== null) requests.current = outgoing;
      else outgoing.once('socket', () => (requests.current = outgoing));
      if (bodyLength(incoming) === 0) return;
      incoming.once('end', () => {
        requests.turn = currentTurn();
      });
    },
    noteEnd(incoming, outgoing) {
      const requests = connections.get(incoming.socket);
      if (requests === undefined) return;
      if (requests.latest === outgoing) requests.latest = undefined;
      if (requests.current === outgoing) requests.current = undefined;
    },
    leave: (socket) => void connections.delete(socket),
    isIdle: (socket) => connections.get(socket)?.latest === undefined,
  };
}

/** Ends a connection whose caller has disconnected; one that is half closed stays open. */
function testWhetherOpen(socket: Socket, outgoing: ServerResponse, clock: Clock): void {
  if (!outgoing.headersSent) {
    if (outgoing.req.httpVersionMinor === 0) return void socket.end();
    outgoing.writeContinue();
  }
  const { bytesWritten } = socket;
  const endedAt = clock.now();
  let delayMs = FIRST_TEST_MS;
  let timer: Timer | undefined;

  function test(): void {
    if (!socket.writable) return;
    const isInDoubt = outgoing.headersSent && socket.bytesWritten === bytesWritten;
    if (isInDoubt && clock.now() - endedAt >= MAX_DOUBT_MS) return void socket.destroy();
    // A write of no bytes sends nothing, but fails if the connection was reset.
    socket.write('');
    timer = clock.after(delayMs, test);
    delayMs = Math.min(2 * delayMs, TEST_EVERY_MS);
  }

  socket.once('close', () => timer?.cancel());
  // On this host, the reset is there already.
  setImmediate(test);
}
