import { DrawsLedger } from '../src/ledger/draws-ledger.ts';
import type { CallerSignal, Grant, Ledger, Outcome, Ticket } from '../src/ledger/ledger.ts';
import { LocalLedger } from '../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../src/rate-headers/api-clock.ts';
import { systemClock, systemRandom } from '../src/util/system-clock.ts';

/**
 * What a request costs that spends from several buckets, in microseconds of the thread's processor
 * time: to acquire and to settle them, in this process.
 *
 *     node bench/several-buckets.ts
 *
 * Ends with 1 when one bucket is dearer than without the ledger of several, or a further one is dearer
 * than is promised.
 */

const CALLS = 5000;
const ROUNDS = 30;
const PROMISED = { one: 1.03, furtherUs: 3 };
const MOST = 4;

const socketPermits = {
  free: 1000,
  take: () => true,
  release: () => undefined,
  onFree: () => undefined,
};
const local = new LocalLedger({
  clock: systemClock,
  random: systemRandom,
  apiClock: new ApiClock(),
  socketPermits,
  maxQueue: 1000,
});
const several = new DrawsLedger({ ledger: local, clock: systemClock, socketPermits });
const signal: CallerSignal = { gone: false, onGone: () => () => undefined };

function ticketOf(buckets: number): Ticket {
  const now = systemClock.now();
  const tickets = Array.from({ length: buckets }, (_, i): Ticket => {
    return {
      id: 'call',
      bucket: { id: `bucket-${i}`, class: 'read', name: `${i}` },
      owner: 'owner',
      caller: 'caller',
      priority: 'normal',
      weight: 1,
      arrivedAt: now,
      deadlineAt: now + 60_000,
      ...(i < buckets - 1 ? { needsNoSocket: true } : {}),
    };
  });
  const [first, ...others] = tickets;
  if (first === undefined) throw new Error('expected at least one bucket');
  return others.length === 0 ? first : { ...first, others };
}

function answer(): Outcome {
  const at = systemClock.now();
  const reset = { kind: 'delay', afterMs: 3_600_000, resolutionMs: 0 } as const;
  const reading = { limit: 1e9, remaining: 9e8, reset };
  return { kind: 'answered', answer: { status: 200, reading, sentAt: at, receivedAt: at } };
}

/** Microseconds a call. */
function measure(ledger: Ledger, buckets: number, settle: (grant: Grant) => void): number {
  const startedAt = process.threadCpuUsage();
  for (let i = 0; i < CALLS; i++) {
    const admission = ledger.acquire(ticketOf(buckets), signal);
    if (admission.kind !== 'granted') throw new Error(`expected a grant, got ${admission.kind}`);
    settle(admission.grant);
  }
  const { user, system } = process.threadCpuUsage(startedAt);
  return (user + system) / CALLS;
}

const direct = (): number => measure(local, 1, (grant) => local.settle(grant, answer()));
const through = (buckets: number): number =>
  measure(several, buckets, (grant) => {
    if (buckets === 1) return several.settle(grant, answer());
    const outcomes: Outcome[] = [];
    for (let i = 0; i < buckets; i++) outcomes.push(answer());
    several.settle(grant, outcomes);
  });

/** The least of many rounds, in turn: whatever slows the machine slows all of them. */
function least(ways: readonly (() => number)[]): number[] {
  const times = ways.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, way] of ways.entries()) times[i] = Math.min(times[i] ?? Infinity, way());
  }
  return times;
}

/** The median of one way over the other, measured one right after the other, in changing order. */
function medianShare(way: () => number, other: () => number): number {
  const shares: number[] = [];
  for (let round = 0; round < 2 * ROUNDS; round++) {
    if (round % 2 === 0) shares.push(way() / other());
    else shares.push(1 / (other() / way()));
  }
  return shares.toSorted((a, b) => a - b)[ROUNDS] ?? Infinity;
}

// A gateway whose requests have one bucket runs no code for several.
const share = medianShare(() => through(1), direct);
const byBuckets = least(Array.from({ length: MOST }, (_, i) => () => through(i + 1)));
const further = ((byBuckets[MOST - 1] ?? 0) - (byBuckets[0] ?? 0)) / (MOST - 1);
process.stdout.write(
  [
    ...byBuckets.map((us, i) => `${i + 1} of several: ${us.toFixed(2)} µs`),
    `one: ${share.toFixed(3)} of the cost without it (promised: ${PROMISED.one})`,
    `each further one: ${further.toFixed(2)} µs (promised: ${PROMISED.furtherUs})`,
    '',
  ].join('\n'),
);
process.exitCode = share <= PROMISED.one && further <= PROMISED.furtherUs ? 0 : 1;
