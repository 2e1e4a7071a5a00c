import type { Socket } from 'node:net';
import { open, type Target } from './callers.ts';

/** An attack that goes on until it is stopped. */
export interface Attack {
  stop(): void;
}

const LONG = 'x'.repeat(60_000);
/** Longer than a run, so that the gateway ends the connections and not the attacker. */
const HOUR_MS = 3_600_000;

/** The attacks of docs/security.md that use up memory, sockets or time. */
export const ATTACKS: Readonly<Record<string, (target: Target) => Attack>> = {
  'pipelined requests with long headers': (target) =>
    flood(target, '127.0.1.1', 8, (socket, n) => {
      for (let i = 0; i < 50; i++) {
        socket.write(head(`/held`, [`Authorization: token long-${n}`, `X-Long: ${LONG}`]));
      }
    }),
  'waiting requests with long headers': (target) =>
    flood(target, '127.0.1.2', 2000, (socket) => {
      socket.write(head('/held', ['Authorization: token known-0', `X-Long: ${LONG}`]));
    }),
  'slow uploads': (target) =>
    flood(target, '127.0.1.3', 300, (socket, n) => {
      socket.write(`PUT /up${n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n`);
      const trickle = setInterval(() => {
        if (socket.writable) socket.write('x'.repeat(1500));
      }, 1000);
      socket.once('close', () => clearInterval(trickle));
    }),
  'answers that are not read': (target) =>
    flood(target, '127.0.1.4', 300, (socket, n) => {
      socket.pause();
      socket.write(head('/big', [`Authorization: token unread-${n % 20}`]));
    }),
  'invented credentials': (target) =>
    flood(target, '127.0.1.5', 64, (socket, n) => {
      const heads = Array.from({ length: 20 }, (_, i) =>
        head('/', [`Authorization: token ${n}-${i}-${Date.now()}`]),
      );
      socket.write(heads.join(''));
    }),
  'a header made for backtracking': (target) =>
    flood(target, '127.0.1.6', 4, (socket) => {
      socket.write(head('/', [`Accept: ${'"\\"'.repeat(20_000)}`]));
    }),
  'idle connections': (target) => flood(target, '127.0.1.7', 4000, () => undefined),
  'heads that never end': (target) =>
    flood(target, '127.0.1.8', 500, (socket) => {
      socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${LONG}`);
    }),
};

function head(path: string, fields: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, 'Host: localhost', ...fields, '', ''].join('\r\n');
}

/**
 * Keeps up to `connections` connections from one address, and calls `run` for each one. One that
 * ends is replaced, but at most 20 in a tenth of a second.
 */
function flood(
  target: Target,
  from: string,
  connections: number,
  run: (socket: Socket, number: number) => void,
): Attack {
  const sockets = new Set<Socket>();
  let number = 0;
  const timer = setInterval(() => {
    for (let i = 0; i < 20 && sockets.size < connections; i++) {
      const socket = open(target, from, HOUR_MS);
      const n = number++;
      sockets.add(socket);
      socket.once('connect', () => run(socket, n));
      socket.once('close', () => sockets.delete(socket));
      socket.resume();
    }
  }, 100);
  return {
    stop() {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
    },
  };
}
