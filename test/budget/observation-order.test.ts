import { expect, test } from 'vitest';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import { toObservation } from '../../src/rate-headers/answer.ts';
import { readRateLimit } from '../../src/rate-headers/rate-headers.ts';
import { readReset } from '../../src/rate-headers/reset-value.ts';

const NO_OFFSET = { low: 0, high: 0 };

/** Answers `lease` with a reset at 4,041 ms, reported as a delay from `servedAt`. */
function answer(
  bucket: LocalBudget,
  lease: LocalLease,
  times: { sentAt: number; servedAt: number; receivedAt: number },
  remaining: number,
): void {
  const reading = readRateLimit({
    'x-ratelimit-limit': '20',
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': ((4041 - times.servedAt) / 1000).toFixed(3),
  });
  bucket.advance(times.receivedAt, NO_OFFSET);
  const { sentAt, receivedAt } = times;
  const observation = toObservation({ status: 200, reading, sentAt, receivedAt }, NO_OFFSET);
  bucket.answered(lease, observation, receivedAt, () => 0.5);
}

test('a quick answer after a slow one is newer, although its delay gives an earlier reset', () => {
  const bucket = new LocalBudget(0);
  bucket.advance(0, NO_OFFSET);
  answer(bucket, bucket.grant(0), { sentAt: 0, servedAt: 41, receivedAt: 44 }, 19);
  const [slow, quick] = [bucket.grant(50), bucket.grant(50)];
  answer(bucket, slow, { sentAt: 50, servedAt: 50.5, receivedAt: 60 }, 18);
  answer(bucket, quick, { sentAt: 59.8, servedAt: 60, receivedAt: 60.2 }, 17);
  expect(bucket.view(60.2)).toMatchObject({ remaining: 17, leases: 0 });
});

test('delays that differ by the rounding of their last digit report the same reset', () => {
  const bucket = new LocalBudget(0);
  bucket.advance(0, NO_OFFSET);
  answer(bucket, bucket.grant(0), { sentAt: 0, servedAt: 0.4, receivedAt: 0.5 }, 19);
  const [first, second] = [bucket.grant(1), bucket.grant(1)];
  answer(bucket, first, { sentAt: 1, servedAt: 1.4, receivedAt: 1.5 }, 18);
  answer(bucket, second, { sentAt: 1.4, servedAt: 1.6, receivedAt: 1.7 }, 17);
  expect(bucket.view(1.7)).toMatchObject({ remaining: 17, leases: 0 });
});

test.each([
  ['59', 1000],
  ['59.9', 100],
  ['3.998', 1],
  ['12ms', 1],
  ['1m2.5s', 100],
])('the resolution of a delay of %s is its last digit', (text, resolutionMs) => {
  expect(readReset(text)).toMatchObject({ kind: 'delay', resolutionMs });
});
