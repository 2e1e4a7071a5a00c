import dns from 'node:dns';
import { connect, isIP, type Socket } from 'node:net';
import type { Clock, Timer } from '../util/clock.ts';

export interface RaceOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Starts a connection attempt; the system's by default. */
  readonly open?: (address: string, port: number) => Socket;
}

export interface Address {
  readonly address: string;
  readonly family: number;
}

/** An attempt is followed by one to the next address after so long (RFC 8305 §8). */
const ATTEMPT_DELAY_MS = 250;

/**
 * Resolves a host name to its addresses: those of both families by turns, in the order of the
 * system. Calls back with an empty list for an IP address, which needs no choice.
 */
export function addressesOf(
  hostname: string,
  callback: (error: Error | null, addresses: Address[]) => void,
): void {
  if (isIP(hostname) !== 0) return callback(null, []);
  dns.lookup(hostname, { all: true }, (error, found) => {
    if (error !== null) callback(error, []);
    else callback(null, interleave(found));
  });
}

/** One address of each family by turns, first of the family that the system put first. */
export function interleave(found: readonly Address[]): Address[] {
  const first = found.filter(({ family }) => family === found[0]?.family);
  const second = found.filter(({ family }) => family !== found[0]?.family);
  const mixed: Address[] = [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    for (const address of [first[i], second[i]]) if (address !== undefined) mixed.push(address);
  }
  return mixed;
}

/**
 * Connects to the first of several addresses that answers (Happy Eyeballs, RFC 8305). Each attempt
 * goes on while the next ones start, until one succeeds or the time is over: an address whose
 * handshake is slow may be the only one that works. Calls `callback` once.
 */
export function raceConnections(
  addresses: readonly Address[],
  port: number,
  { clock, timeoutMs, open = openSocket }: RaceOptions,
  callback: (opened: Socket | Error) => void,
): void {
  const attempts = new Set<Socket>();
  const errors: Error[] = [];
  let next = 0;
  let nextTimer: Timer | undefined;
  let isOver = false;
  const timer = clock.after(timeoutMs, () => {
    const tried = addresses.slice(0, next).map(({ address }) => address);
    const message = `no connection to ${tried.join(', ')} in ${timeoutMs} ms`;
    finish(Object.assign(new Error(message), { code: 'ETIMEDOUT' }));
  });

  function startNext(): void {
    nextTimer?.cancel();
    const to = addresses[next++];
    if (to === undefined) return;
    const socket = open(to.address, port);
    attempts.add(socket);
    const onError = (error: Error): void => {
      attempts.delete(socket);
      errors.push(error);
      if (next < addresses.length) startNext();
      else if (attempts.size === 0) finish(errors[0] ?? error);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      attempts.delete(socket);
      finish(socket);
    });
    nextTimer = clock.after(ATTEMPT_DELAY_MS, startNext);
  }

  function finish(result: Socket | Error): void {
    if (isOver) return;
    isOver = true;
    timer.cancel();
    nextTimer?.cancel();
    for (const socket of attempts) {
      socket.removeAllListeners('connect');
      socket.destroy();
    }
    callback(result);
  }

  startNext();
}

function openSocket(address: string, port: number): Socket {
  const socket = connect({ host: address, port });
  // As the HTTP client library sets its own sockets up.
  return socket.setKeepAlive(true, 60_000).setNoDelay(true);
}
