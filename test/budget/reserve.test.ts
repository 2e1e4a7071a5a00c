import { describe, expect, test } from 'vitest';
import { makeBucket, type Bucket } from '../../src/budget/bucket.ts';
import { eta } from '../../src/budget/forecast.ts';
import { maxPrefetched, nextWakeAt, offer } from '../../src/budget/grants.ts';
import { isKept, isScarce, maxKept, mayKeep, reserveAt } from '../../src/budget/reserve.ts';
import { makeWindowedMax } from '../../src/budget/windowed-max.ts';
import { meteredBucket, NOW, PERIOD, type Spent } from '../support/metered-bucket.ts';

function bucketOf({ spread = 0.2, ...spent }: Spent & { readonly spread?: number }): Bucket {
  const bucket = meteredBucket(spent);
  bucket.spread = spread;
  return bucket;
}

describe('the reserve of a window', () => {
  const window = (inMs: number, remaining = 40): Bucket =>
    bucketOf({ limit: 40, remaining, returns: [[inMs, 40 - remaining]], resetIn: inMs });

  test.each([
    [60_000, 7],
    [52_501, 7],
    [52_500, 6],
    [30_001, 4],
    [30_000, 3],
    [7501, 1],
    [7500, 0],
    [1, 0],
  ])('keeps, %i ms before the reset, %i of 40 operations', (inMs, kept) => {
    expect(reserveAt(window(inMs), NOW).kept).toBe(kept);
  });

  test('is released one by one at times that are known before', () => {
    const bucket = window(60_000);
    const released: number[] = [];
    let now = NOW;
    while (reserveAt(bucket, now).kept > 0) {
      now = reserveAt(bucket, now).releaseAt;
      released.push(now - NOW);
    }
    expect(released).toEqual([7500, 15_000, 22_500, 30_000, 37_500, 45_000, 52_500]);
  });

  test.each([
    [4, 0],
    [5, 1],
    [9, 1],
    [10, 2],
    [15, 3],
    [20, 3],
    [100, 19],
    [5000, 999],
  ])('keeps of a limit of %i at most %i operations', (limit, kept) => {
    const bucket = bucketOf({ limit, remaining: limit, resetIn: PERIOD });
    expect(reserveAt(bucket, NOW).kept).toBe(kept);
  });

  test('keeps the one of a small limit for three quarters of the window', () => {
    const bucket = bucketOf({ limit: 5, remaining: 1, resetIn: PERIOD });
    expect(reserveAt(bucket, NOW)).toEqual({ kept: 1, releaseAt: NOW + 45_000 });
    expect(reserveAt(bucket, NOW + 45_000).kept).toBe(0);
  });

  test('keeps nothing while no owner needs it, nor where no return is known', () => {
    expect(
      reserveAt(bucketOf({ limit: 40, remaining: 40, resetIn: PERIOD, spread: 0 }), NOW),
    ).toEqual({ kept: 0, releaseAt: Infinity });
    expect(reserveAt(bucketOf({ limit: 40, remaining: 40 }), NOW).kept).toBe(0);
    expect(maxKept(makeBucket(NOW), 0.2)).toBe(0);
  });

  test('keeps nothing while the period is unknown: it would not be released', () => {
    const bucket = bucketOf({ limit: 40, remaining: 1 });
    bucket.observedPeriodMs = makeWindowedMax();
    expect(isKept(bucket, 1, NOW)).toBe(false);
    expect(offer(bucket, 1, NOW)).toBe('regular');
  });
});

describe('the reserve of a sliding log', () => {
  test('keeps nothing where slots return evenly', () => {
    const returns = Array.from({ length: 40 }, (_, i) => [1500 * (i + 1), 1] as const);
    expect(reserveAt(bucketOf({ limit: 40, remaining: 0, returns }), NOW).kept).toBe(0);
  });

  test('keeps the last operations of a burst, although others return a moment later', () => {
    const burst = Array.from({ length: 40 }, (_, i) => [3 * i + 1, 1] as const);
    const keptAfter = (returned: number): number => {
      const returns = [...burst.slice(returned), [PERIOD, 1] as const];
      return reserveAt(bucketOf({ limit: 40, remaining: 1, returns }), NOW).kept;
    };
    expect(keptAfter(0)).toBe(0);
    expect(keptAfter(32)).toBe(0);
    expect(keptAfter(35)).toBe(2);
    expect(keptAfter(40)).toBe(7);
  });

  test('is kept until the safety margin has passed as well, which delays all returns', () => {
    const keptWith = (marginMs: number): number => {
      const bucket = bucketOf({ limit: 40, remaining: 20, returns: [[52_500, 20]] });
      bucket.marginMs = marginMs;
      return reserveAt(bucket, NOW).kept;
    };
    expect([0, 1, 7500, 7501].map(keptWith)).toEqual([6, 7, 7, 8]);
  });

  test('counts the chunks that it does not read', () => {
    const returns = Array.from({ length: 900 }, (_, i) => [60 * (i + 1), 1] as const);
    const bucket = bucketOf({ limit: 1000, remaining: 0, returns });
    expect(bucket.slots.chunks.length).toBeGreaterThan(5);
    expect(reserveAt(bucket, NOW).kept).toBe(0);
    const late = bucketOf({ limit: 1000, remaining: 0, returns: [[PERIOD, 900]] });
    expect(reserveAt(late, NOW).kept).toBe(199);
  });
});

describe('a request', () => {
  const left = (remaining: number): Bucket =>
    bucketOf({ limit: 40, remaining, returns: [[60_000, 40 - remaining]], resetIn: 60_000 });

  test('is kept waiting when it would take from the reserve', () => {
    expect(isKept(left(8), 1, NOW)).toBe(false);
    expect(isKept(left(7), 1, NOW)).toBe(true);
    expect(isKept(left(9), 3, NOW)).toBe(true);
    expect(offer(left(7), 1, NOW)).toBe('regular');
  });

  test('that costs nearly the whole limit is not kept waiting by the reserve', () => {
    expect(isKept(left(33), 33, NOW)).toBe(false);
    expect(isKept(left(40), 40, NOW)).toBe(false);
    expect(isKept(left(38), 32, NOW)).toBe(true);
  });

  test('is scarce where it would take from what may be kept at most', () => {
    expect(isScarce(left(8), 0.2, 1)).toBe(true);
    expect(isScarce(left(9), 0.2, 1)).toBe(false);
    expect(isScarce(left(0), 0.2, 1)).toBe(false);
  });

  test('that tests the budget alone is not kept waiting: no other answer would show the same', () => {
    const bucket = left(7);
    expect([mayKeep(bucket, 'canary'), mayKeep(bucket, 'regular')]).toEqual([false, true]);
    bucket.inFlight = 1;
    expect([mayKeep(bucket, 'canary'), mayKeep(bucket, 'first')]).toEqual([true, false]);
  });

  test('wakes the bucket at the release also after a minute without a grant: a canary is due, and kept', () => {
    const bucket = left(7);
    bucket.lastGrantAt = NOW - 60_000;
    expect(nextWakeAt(bucket, undefined, NOW)).toBe(NOW + 7500);
  });

  test('wakes the bucket when the next operation is released', () => {
    expect(nextWakeAt(left(7), undefined, NOW)).toBe(NOW + 7500);
    expect([1, 0].map((remaining) => maxPrefetched(left(remaining), NOW))).toEqual([Infinity, 0]);
  });
});

describe('the forecast with a reserve', () => {
  test('counts what is kept as released evenly until the reset, and so in each further window', () => {
    const bucket = bucketOf({ limit: 40, remaining: 10, returns: [[60_000, 30]], resetIn: 60_000 });
    const inMs = (rank: number): number => (eta(bucket, rank, NOW) ?? Number.NaN) - NOW;
    expect([1, 3, 4, 5, 10].map(inMs)).toEqual([0, 0, 7500, 15_000, 52_500]);
    // The window has 40: the first 33 at its start.
    expect([11, 43, 44, 50].map(inMs)).toEqual([60_000, 60_000, 67_500, 112_500]);
    expect([51, 83, 84, 90].map(inMs)).toEqual([120_000, 120_000, 127_500, 172_500]);
  });

  test('is that without a reserve where slots return evenly', () => {
    const returns = Array.from({ length: 40 }, (_, i) => [1500 * (i + 1), 1] as const);
    const bucket = bucketOf({ limit: 40, remaining: 0, returns });
    const plain = bucketOf({ limit: 40, remaining: 0, returns, spread: 0 });
    for (const rank of [1, 2, 20, 40, 41, 90]) {
      expect(eta(bucket, rank, NOW)).toBe(eta(plain, rank, NOW));
    }
  });

  test('spreads the last operations of a burst over the time in which none returns', () => {
    const burst = Array.from({ length: 40 }, (_, i) => [10_000 + 2 * i, 1] as const);
    const bucket = bucketOf({ limit: 40, remaining: 0, returns: burst });
    const inMs = (rank: number): number => (eta(bucket, rank, NOW) ?? Number.NaN) - NOW;
    expect(inMs(1)).toBe(10_000);
    expect(inMs(32)).toBe(10_062);
    expect(inMs(40)).toBe(70_000 - 7500);
  });
});
