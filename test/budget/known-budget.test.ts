import { describe, expect, test } from 'vitest';
import { makeBucket, type Bucket } from '../../src/budget/bucket.ts';
import { isTooCostly, offer } from '../../src/budget/grants.ts';
import {
  restore,
  setConfiguredLimit,
  startShare,
  type KnownBudget,
} from '../../src/budget/known-budget.ts';
import { advance } from '../../src/budget/refill.ts';
import { nextExtraAt } from '../../src/budget/share.ts';
import { slotEntries } from '../../src/budget/slots.ts';

const NOW = 1_000_000;
const HOUR_MS = 3_600_000;

function knownBudget(rest: Partial<KnownBudget> = {}): KnownBudget {
  const reported = { limit: 10, remaining: 5, at: NOW, resetAt: NOW + 60_000, uncertaintyMs: 0 };
  return { reported, blockedUntil: undefined, slots: [], ...rest };
}

describe.each<[string, (bucket: Bucket, known: KnownBudget) => void]>([
  ['continues', (bucket, known) => startShare(bucket, known, 1, NOW)],
  ['restores', (bucket, known) => restore(bucket, known, NOW)],
])('a bucket that %s what another ledger knew', (_how, learn) => {
  test('keeps the limit that the API reported, whatever is configured', () => {
    const bucket = makeBucket(NOW);
    learn(bucket, knownBudget());
    setConfiguredLimit(bucket, { limit: 99, periodMs: 1000 });
    expect(bucket.limit).toBe(10);
  });

  test('tests a Retry-After after an hour, and not after a minute', () => {
    const bucket = makeBucket(NOW);
    learn(bucket, knownBudget({ blockedUntil: NOW + 2 * HOUR_MS }));
    expect(offer(bucket, 1, NOW + HOUR_MS - 1)).toBeUndefined();
    expect(offer(bucket, 1, NOW + HOUR_MS)).toBe('canary');
  });

  test('has thousands of slots return at most a thousandth of their time late', () => {
    const bucket = makeBucket(NOW);
    const slots = Array.from({ length: 3000 }, (_, i) => [NOW + 20 * (i + 1), 1] as const);
    const reported = { limit: 10_000, remaining: 7000, at: NOW, uncertaintyMs: 0 };
    learn(bucket, knownBudget({ reported, slots }));
    const returned = slotEntries(bucket.slots).flatMap(([at, count]) =>
      Array<number>(count).fill(at),
    );
    expect(returned).toHaveLength(3000);
    const lateMs = returned.map((at, i) => at - (slots[i]?.[0] ?? 0));
    expect(Math.min(...lateMs)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...lateMs)).toBeLessThanOrEqual(60);
  });
});

test('a request that costs more than the limit is too costly, in a share too, which is rounded down', () => {
  const bucket = makeBucket(NOW);
  startShare(bucket, knownBudget(), 3, NOW);
  bucket.isLimitStated = true;
  // Three shares of 3 are a limit of 9 to 11.
  expect([11, 12].map((cost) => isTooCostly(bucket, cost))).toEqual([false, true]);
});

test('a replica borrows nothing after a reset until an answer shows what the others leave', () => {
  const bucket = makeBucket(NOW);
  const resetAt = NOW + 60_000;
  const reported = { limit: 10, remaining: 0, at: NOW, resetAt, uncertaintyMs: 0 };
  startShare(bucket, knownBudget({ reported, slots: [[resetAt, 5]] }), 2, NOW);
  advance(bucket, resetAt);
  expect(bucket.remaining).toBe(5);
  expect(nextExtraAt(bucket, 1)).toBe(Infinity);
});
