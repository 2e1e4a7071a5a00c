import { expect, test } from 'vitest';
import { answered } from '../../src/budget/answers.ts';
import { makeBucket, type Bucket, type Lease } from '../../src/budget/bucket.ts';
import type { Observation } from '../../src/budget/observation.ts';
import { learnFromRefusal, learnRounding, planTest } from '../../src/budget/rounded-reset.ts';
import { leaseAt } from '../support/lease-at.ts';

const NOW = 1_000_000;

test('an exact time of the same reset does not pass for another window', () => {
  const bucket = makeBucket(NOW);
  const answer = (lease: Lease, at: number, rest: Partial<Observation>): void => {
    const observation = { status: 200, basis: 'instant', limit: 10, receivedAt: at } as const;
    const rounded = { ...observation, sameWithinMs: 1000, uncertaintyMs: 2000, ...rest };
    answered(bucket, lease, true, rounded, at, () => 0.5);
  };
  answer(leaseAt(NOW, { kind: 'first' }), NOW + 50, { remaining: 9, resetAt: NOW + 60_000 });
  expect(bucket.rounded.openedAt).toBe(NOW + 50);
  answer(leaseAt(NOW + 100, { observation: 1 }), NOW + 150, {
    remaining: 8,
    resetAt: NOW + 60_900,
    sameWithinMs: 0,
  });
  expect(bucket.rounded.openedAt).toBe(NOW + 50);
  answer(leaseAt(NOW + 200, { observation: 2 }), NOW + 250, {
    remaining: 7,
    resetAt: NOW + 62_000,
  });
  expect(bucket.rounded.openedAt).toBeUndefined();
});

/** A bucket with nothing left, whose reset is in `resetMs` or up to two seconds earlier. */
function closedBucket(resetMs: number): Bucket {
  const bucket = makeBucket(NOW);
  bucket.phase = 'metered';
  bucket.limit = 10;
  bucket.sameWithinMs = 1000;
  bucket.uncertaintyMs = 2000;
  bucket.resetAt = NOW + resetMs;
  bucket.reportedResetAt = bucket.resetAt;
  return bucket;
}

test('a window that was open again after 9.5 s is tested after 9.5 s the next time', () => {
  const bucket = closedBucket(11_500);
  bucket.rounded.openedAt = NOW;
  bucket.rounded.testAt = NOW + 9500;
  learnRounding(bucket, leaseAt(NOW + 9500, { kind: 'canary' }), 1, true, NOW + 9550);
  bucket.resetAt = NOW + 9550 + 11_100;
  expect(planTest(bucket)).toBe(NOW + 9550 + 9500);
});

test('no window is tested after four refusals, or after one that shows a sliding log', () => {
  const isTestedAfter = (...others: readonly boolean[]): boolean => {
    const bucket = closedBucket(11_000);
    for (const isOther of others) learnFromRefusal(bucket, leaseAt(NOW + 9000), isOther);
    return planTest(bucket) !== undefined;
  };
  expect(isTestedAfter(false, false, false)).toBe(true);
  expect(isTestedAfter(false, false, false, false)).toBe(false);
  expect(isTestedAfter(true)).toBe(false);
});
