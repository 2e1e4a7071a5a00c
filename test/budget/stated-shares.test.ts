import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeBucket, type Bucket } from '../../src/budget/bucket.ts';
import { eta, etaInShare } from '../../src/budget/forecast.ts';
import { nextWakeAt } from '../../src/budget/grants.ts';
import { setConfiguredLimit } from '../../src/budget/known-budget.ts';
import { addSlots } from '../../src/budget/slots.ts';
import {
  fitsBesideShares,
  keptForOthers,
  maxStated,
  owedOperations,
  returnsTogether,
  statedOperations,
  statedReserveAt,
  usedOfShare,
} from '../../src/budget/stated-shares.ts';
import { addToMax, makeWindowedMax } from '../../src/budget/windowed-max.ts';
import { meteredBucket, NOW, PERIOD, type Spent } from '../support/metered-bucket.ts';

interface Shared extends Spent {
  readonly part?: number;
  readonly owed?: number;
}

function bucketOf({ part = 0.2, owed, ...spent }: Shared): Bucket {
  const bucket = meteredBucket(spent);
  bucket.stated = { part, owed: owed ?? statedOperations(bucket, part) };
  return bucket;
}

const windowOf = (inMs: number, more: Partial<Shared> = {}): Bucket => {
  const { limit = 60, remaining = 12 } = more;
  const returns = [[inMs, limit - remaining]] as const;
  return bucketOf({ limit, remaining, returns, resetIn: inMs, ...more });
};

/** A log of 60 whose slots return evenly, of which `late` return last. */
const evenLog = (): Bucket =>
  bucketOf({
    limit: 60,
    remaining: 0,
    returns: Array.from({ length: 60 }, (_, i) => [1000 * (i + 1), 1] as const),
    resetIn: PERIOD,
  });

describe('a stated part', () => {
  test.each([
    [60, 0.2, 12],
    [40, 0.2, 8],
    [5, 0.2, 1],
    [3, 0.2, 1],
    [3, 0.9, 2],
    [2, 0.01, 1],
    [2, 0.9, 1],
    [1, 0.9, 0],
    [1000, 0.29, 290],
    [10, 0, 0],
  ])('of a limit of %i is, as %d of it, %i operations', (limit, part, operations) => {
    expect(statedOperations(bucketOf({ limit, remaining: limit }), part)).toBe(operations);
  });

  test('is nothing before a limit is known, and of a quota', () => {
    expect(statedOperations(makeBucket(NOW), 0.2)).toBe(0);
    const quota = makeBucket(NOW);
    setConfiguredLimit(quota, { limit: 100, periodMs: PERIOD, isOwn: true });
    expect(statedOperations(quota, 0.2)).toBe(0);
    expect(maxStated(quota)).toBe(0);
  });

  test('is never the whole limit, and at least one operation of a limit above 1', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 90 }),
        (limit, percent) => {
          const operations = statedOperations(bucketOf({ limit, remaining: limit }), percent / 100);
          expect(operations).toBeLessThan(limit);
          expect(operations).toBeGreaterThanOrEqual(Math.min(1, limit - 1));
          expect(operations).toBeLessThanOrEqual(Math.max(1, (limit * percent) / 100 + 1e-6));
        },
      ),
    );
  });
});

describe('a share of a window', () => {
  test.each([
    [60_000, 12],
    [30_000, 12],
    [6001, 12],
    [6000, 11],
    [3001, 6],
    [3000, 5],
    [501, 1],
    [500, 0],
    [1, 0],
  ])('is kept, %i ms before the reset, with %i of 12 operations', (inMs, kept) => {
    expect(statedReserveAt(windowOf(inMs), 12, NOW).kept).toBe(kept);
  });

  test('is released one by one at times that are known before, also while requests are in flight', () => {
    for (const part of [0.05, 0.2, 0.6, 0.9]) {
      const owed = Math.round(60 * part);
      const bucket = windowOf(PERIOD, { remaining: owed, part, owed });
      const released: number[] = [];
      let now = NOW;
      while (statedReserveAt(bucket, owed, now).kept > 0) {
        now = statedReserveAt(bucket, owed, now).releaseAt;
        released.push(Math.round(now - NOW));
        bucket.inFlight = 1;
      }
      const expected = Array.from({ length: owed }, (_, i) =>
        Math.round(54_000 + (i * 6000) / owed),
      );
      expect(released).toEqual(expected);
    }
  });

  test('of a short period is released a second before the reset, or in its second half', () => {
    const short = (period: number, inMs: number): number => {
      const bucket = windowOf(inMs);
      bucket.observedPeriodMs = makeWindowedMax();
      addToMax(bucket.observedPeriodMs, period, 64);
      return statedReserveAt(bucket, 12, NOW).kept;
    };
    expect([1001, 1000].map((inMs) => short(2000, inMs))).toEqual([12, 11]);
    expect([501, 500].map((inMs) => short(1000, inMs))).toEqual([12, 11]);
  });

  test('is kept from the first request on, when no reset is known yet', () => {
    const bucket = bucketOf({ limit: 60, remaining: 60 });
    expect(statedReserveAt(bucket, 12, NOW).kept).toBe(0);
    bucket.inFlight = 1;
    expect(statedReserveAt(bucket, 12, NOW).kept).toBe(12);
  });

  test('is used until the window ends, however long ago that was', () => {
    const bucket = windowOf(30_000);
    bucket.lastReturnAt = NOW - 30_000;
    expect(usedOfShare(bucket, 5, NOW - 29_999, NOW)).toBe(5);
    expect(usedOfShare(bucket, 5, NOW - 30_001, NOW)).toBe(0);
    expect(owedOperations(bucket, 0.2, 5)).toBe(7);
    expect(owedOperations(bucket, 0.2, 13)).toBe(0);
  });
});

describe('a share where slots return one by one', () => {
  test('keeps nothing where slots return evenly', () => {
    expect(returnsTogether(evenLog())).toBe(false);
    expect(statedReserveAt(evenLog(), 12, NOW).kept).toBe(0);
  });

  test('is released evenly as soon as one slot is known to return later', () => {
    const burst: Partial<Shared> = { limit: 60, remaining: 11, part: 0.2 };
    expect(returnsTogether(windowOf(6000, burst))).toBe(true);
    const late = bucketOf({
      limit: 60,
      remaining: 11,
      returns: [
        [6000, 48],
        [60_000, 1],
      ],
      resetIn: 60_000,
    });
    expect(returnsTogether(late)).toBe(false);
    // One operation in each twelfth of the period, until the others return.
    expect(statedReserveAt(late, 12, NOW).kept).toBe(1);
  });

  test('counts what was used until a period after it', () => {
    const bucket = evenLog();
    expect(usedOfShare(bucket, 12, NOW, NOW)).toBe(12);
    expect(usedOfShare(bucket, 12, NOW - 30_000, NOW)).toBe(6);
    expect(usedOfShare(bucket, 12, NOW - 60_000, NOW)).toBe(0);
    expect(owedOperations(bucket, 0.2, 11.5)).toBe(0);
  });

  test('takes resets that differ as little as the reports of one for the same', () => {
    const noisy = bucketOf({
      limit: 60,
      remaining: 10,
      returns: [
        [20_000, 20],
        [22_900, 30],
      ],
      resetIn: 22_900,
    });
    expect(returnsTogether(noisy)).toBe(true);
    noisy.resetAt = NOW + 24_000;
    expect(returnsTogether(noisy)).toBe(false);
    noisy.sameWithinMs = 1000;
    expect(returnsTogether(noisy)).toBe(true);
  });
});

describe('a request', () => {
  const left = (remaining: number): Bucket => windowOf(40_000, { remaining });
  const isKept = (bucket: Bucket, own: number, cost: number): boolean =>
    bucket.remaining - cost < keptForOthers(bucket, own, cost, NOW);

  test('is kept waiting when it would take from the share of another caller', () => {
    expect(isKept(left(13), 0, 1)).toBe(false);
    expect(isKept(left(12), 0, 1)).toBe(true);
    expect(isKept(left(13), 0, 2)).toBe(true);
  });

  test('spends its own share, and never waits for that of another while it has some', () => {
    expect(isKept(left(12), 12, 1)).toBe(false);
    expect(isKept(left(12), 4, 4)).toBe(false);
    expect(isKept(left(12), 4, 5)).toBe(true);
    expect(keptForOthers(left(12), 12, 13, NOW)).toBe(0);
  });

  test('that does not fit beside all shares is not kept waiting: it might never find so much', () => {
    expect(fitsBesideShares(left(60), 48)).toBe(true);
    expect(fitsBesideShares(left(60), 49)).toBe(false);
    expect(isKept(left(50), 0, 48)).toBe(true);
    expect(isKept(left(50), 0, 49)).toBe(false);
  });

  test('wakes the bucket when the next operation is released', () => {
    expect(nextWakeAt(left(12), undefined, NOW)).toBe(NOW + 34_000);
  });

  test('of a caller without a share never takes what is kept, whatever is left', () => {
    const spent = fc.record({
      limit: fc.integer({ min: 2, max: 500 }),
      used: fc.double({ min: 0, max: 1, noNaN: true }),
      percent: fc.integer({ min: 1, max: 90 }),
      inMs: fc.integer({ min: 6001, max: PERIOD }),
    });
    const isAllKept = fc.property(spent, ({ limit, used, percent, inMs }) => {
      const spentOnes = Math.min(limit - 1, Math.max(1, Math.floor(used * limit)));
      const bucket = windowOf(inMs, { limit, remaining: limit - spentOnes, part: percent / 100 });
      // Before the last tenth, all that is owed is kept.
      return keptForOthers(bucket, 0, 1, NOW) === maxStated(bucket);
    });
    expect(fc.check(isAllKept)).toMatchObject({ failed: false });
  });
});

describe('the forecast with stated shares', () => {
  const inMs = (bucket: Bucket, rank: number): number =>
    (eta(bucket, rank, NOW) ?? Number.NaN) - NOW;

  test('counts them as released before the reset, and so in each further window', () => {
    const bucket = windowOf(40_000, { remaining: 20 });
    expect([1, 8].map((rank) => inMs(bucket, rank))).toEqual([0, 0]);
    expect([9, 14, 20].map((rank) => inMs(bucket, rank))).toEqual([34_000, 36_500, 39_500]);
    expect([21, 68].map((rank) => inMs(bucket, rank))).toEqual([40_000, 40_000]);
    expect([69, 80].map((rank) => inMs(bucket, rank))).toEqual([94_000, 99_500]);
  });

  test('counts the reserve as the part before them', () => {
    const bucket = windowOf(60_000, { remaining: 60, limit: 60 });
    addSlots(bucket.slots, NOW + 60_000, 1, PERIOD);
    bucket.remaining = 59;
    bucket.spread = 0.2;
    expect([1, 36].map((rank) => inMs(bucket, rank))).toEqual([0, 0]);
    expect(inMs(bucket, 37)).toBe(5000);
    expect([48, 59].map((rank) => inMs(bucket, rank))).toEqual([54_000, 59_500]);
    // The next window's first ones, then its reserve, then its shares.
    expect([60, 96].map((rank) => inMs(bucket, rank))).toEqual([60_000, 60_000]);
    expect([108, 119].map((rank) => inMs(bucket, rank))).toEqual([114_000, 119_500]);
  });

  test('of a request in the share of its caller counts nothing as kept', () => {
    const bucket = windowOf(40_000);
    expect([1, 12].map((rank) => etaInShare(bucket, rank, NOW))).toEqual([NOW, NOW]);
    expect(etaInShare(bucket, 13, NOW)).toBe(NOW + 40_000);
    expect(etaInShare(makeBucket(NOW), 1, NOW)).toBeUndefined();
    bucket.blockedUntil = NOW + 500;
    expect(etaInShare(bucket, 1, NOW)).toBe(NOW + 500);
  });

  test('is that without shares where slots return evenly', () => {
    const [bucket, plain] = [evenLog(), evenLog()];
    plain.stated = undefined;
    for (const rank of [1, 2, 20, 60, 61, 130]) {
      expect(eta(bucket, rank, NOW)).toBe(eta(plain, rank, NOW));
    }
  });
});
