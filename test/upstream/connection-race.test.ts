import { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import {
  addressesOf,
  interleave,
  raceConnections,
  type Address,
} from '../../src/upstream/connection-race.ts';
import { FakeClock } from '../support/fake-clock.ts';

const V6: Address[] = ['2001:db8::1', '2001:db8::2'].map((address) => ({ address, family: 6 }));
const V4: Address[] = ['192.0.2.1'].map((address) => ({ address, family: 4 }));

/** Starts a race in which the test decides what becomes of each attempt. */
function startRace(addresses: Address[], timeoutMs = 10_000) {
  const clock = new FakeClock();
  const attempts = new Map<string, Socket>();
  const results: (Socket | Error)[] = [];
  const open = (address: string): Socket => {
    const socket = new Socket();
    attempts.set(address, socket);
    return socket;
  };
  raceConnections(addresses, 443, { clock, timeoutMs, open }, (result) => results.push(result));
  return { clock, attempts, results };
}

test('the families take turns', () => {
  expect(interleave([...V6, ...V4])).toEqual([V6[0], V4[0], V6[1]]);
  expect(interleave(V4)).toEqual(V4);
  expect(interleave([])).toEqual([]);
});

test('an IP address is not resolved', () => {
  const results: unknown[] = [];
  addressesOf('127.0.0.1', (...result) => results.push(result));
  expect(results).toEqual([[null, []]]);
});

describe('connection attempts', () => {
  test('follow each other, and a slow one may still succeed', () => {
    const { clock, attempts, results } = startRace([...V6, ...V4]);
    expect([...attempts.keys()]).toEqual(['2001:db8::1']);
    clock.advance(500);
    expect(attempts.size).toBe(3);
    clock.advance(3000);
    const first = attempts.get('2001:db8::1');
    first?.emit('connect');
    expect(results).toEqual([first]);
    expect([...attempts.values()].map(({ destroyed }) => destroyed)).toEqual([false, true, true]);
    expect(clock.pending).toBe(0);
  });

  test('follow at once when one fails', () => {
    const { clock, attempts, results } = startRace([...V6, ...V4]);
    attempts.get('2001:db8::1')?.emit('error', new Error('unreachable'));
    expect(attempts.size).toBe(2);
    const second = attempts.get('2001:db8::2');
    second?.emit('connect');
    expect(results).toEqual([second]);
    expect(clock.pending).toBe(0);
  });

  test('all fail with the first error', () => {
    const { clock, attempts, results } = startRace(V6);
    const error = new Error('refused');
    attempts.get('2001:db8::1')?.emit('error', error);
    attempts.get('2001:db8::2')?.emit('error', new Error('unreachable'));
    expect(results).toEqual([error]);
    expect(clock.pending).toBe(0);
  });

  test('end with the connect timeout', () => {
    const { clock, attempts, results } = startRace([...V6, ...V4], 2000);
    clock.advance(2000);
    expect(results).toMatchObject([{ message: expect.stringContaining('192.0.2.1') }]);
    expect([...attempts.values()].every(({ destroyed }) => destroyed)).toBe(true);
    expect(clock.pending).toBe(0);
  });
});
