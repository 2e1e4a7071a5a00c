import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { bodyLength } from '../upstream/body.ts';

/** Notes that a request has arrived, so that its caller may end its side of the connection. */
export type NoteArrival = (incoming: IncomingMessage) => void;

/** When the latest request of a connection arrived, in turns of the event loop. */
interface Arrival {
  turn: number;
}

/** How many turns after a request the end of its caller's side still belongs to it. */
const TURNS = 2;

/**
 * Lets callers end their side of a connection right behind a request, as `printf … | nc` does, and
 * still receive the answer (RFC 9112 §9.6). A caller that has disconnected ends its side as well, and
 * nothing distinguishes the two. So an end that arrives together with the request counts as a half
 * close, and a later one as a disconnection, which must free the place in the queue at once.
 */
export function allowHalfClose(
  server: Server,
  event: 'connection' | 'secureConnection',
): NoteArrival {
  const arrivals = new WeakMap<Socket, Arrival>();
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

  // Node's own setting: without it, the server ends the connection as soon as the caller does.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on(event, (socket: Socket) => {
    const arrival: Arrival = { turn: -TURNS };
    arrivals.set(socket, arrival);
    socket.on('end', () => {
      if (turn - arrival.turn >= TURNS) socket.end();
    });
  });

  return (incoming) => {
    const arrival = arrivals.get(incoming.socket);
    if (arrival === undefined) return;
    arrival.turn = currentTurn();
    if (bodyLength(incoming) === 0) return;
    incoming.once('end', () => {
      arrival.turn = currentTurn();
    });
  };
}
