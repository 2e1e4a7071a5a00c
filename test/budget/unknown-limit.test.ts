import { describe, expect, test } from 'vitest';
import { makeBucket } from '../../src/budget/bucket.ts';
import type { Observation } from '../../src/budget/observation.ts';
import { maxInFlight, refusedByUnknownLimit, takenByApi } from '../../src/budget/unknown-limit.ts';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import { leaseAt } from '../support/lease-at.ts';
import { seededRandom } from '../support/seeded-random.ts';

const NO_OFFSET = { low: 0, high: 0 };

/** Whether the API takes a request that arrives at `now` while `inFlight` others are under way. */
type Limit = (now: number, inFlight: number) => boolean;

/** What an answer reports at `now`, besides its status. */
type Report = (isTaken: boolean, now: number) => Partial<Observation>;

interface Result {
  readonly taken: number;
  readonly refused: number;
}

/**
 * Runs callers that always have another request against an API that reports nothing, unless `report`
 * says so, for `durationMs`. An answer takes `latencyMs`.
 */
function run(
  limit: Limit,
  latencyMs: number,
  durationMs: number,
  report: Report = () => ({}),
): Result {
  const random = seededRandom(7);
  const bucket = new LocalBudget(0);
  let sent: { lease: LocalLease; isTaken: boolean; at: number }[] = [];
  let taken = 0;
  let refused = 0;
  for (let now = 0; now < durationMs; now += 10) {
    bucket.advance(now, NO_OFFSET);
    for (const { lease, isTaken } of sent.filter(({ at }) => at <= now)) {
      const status = isTaken ? 200 : 429;
      const observation = { status, sameWithinMs: 0, uncertaintyMs: 0, receivedAt: now };
      const reported = report(isTaken, now);
      bucket.answered(lease, { ...observation, basis: 'instant', ...reported }, now, random);
    }
    sent = sent.filter(({ at }) => at > now);
    while (sent.length < 100 && bucket.offer(now) !== undefined) {
      const inFlight = sent.filter(({ isTaken }) => isTaken).length;
      const isTaken = limit(now, inFlight);
      if (isTaken) taken++;
      else refused++;
      sent.push({ lease: bucket.grant(now), isTaken, at: now + latencyMs });
    }
  }
  return { taken, refused };
}

describe('an API that reports nothing and limits', () => {
  test.each([
    [15, 4000],
    [60, 10_000],
    [200, 60_000],
  ])('the rate to %d in %d ms is used, with few refusals in each window', (limit, periodMs) => {
    let windowAt = 0;
    let used = 0;
    const windows = 20;
    const { taken, refused } = run(
      (now) => {
        if (now >= windowAt + periodMs) {
          windowAt = now;
          used = 0;
        }
        return used++ < limit;
      },
      50,
      windows * periodMs,
    );
    // The back-off of a refusal that states no time tries again after 1, 2, 4 … s.
    expect(taken / (windows * limit)).toBeGreaterThan(0.55);
    expect(refused / windows).toBeLessThan(8);
  });

  test.each([
    [3, 0.1],
    [10, 0.02],
    [30, 0.005],
  ])('the requests in flight to %d is used, with few refusals', (limit, most) => {
    const latencyMs = 200;
    const durationMs = 120_000;
    const { taken, refused } = run((_now, inFlight) => inFlight < limit, latencyMs, durationMs);
    expect(taken / (limit * (durationMs / latencyMs))).toBeGreaterThan(0.8);
    expect(refused / (taken + refused)).toBeLessThan(most);
  });

  test('the rate by a bucket that refills is not taken for a limit of requests in flight', () => {
    let tokens = 20;
    let refilledAt = 0;
    const { taken, refused } = run(
      (now) => {
        tokens = Math.min(20, tokens + (now - refilledAt) / 200);
        refilledAt = now;
        if (tokens < 1) return false;
        tokens--;
        return true;
      },
      50,
      120_000,
    );
    expect(taken / (20 + 120 * 5)).toBeGreaterThan(0.95);
    expect(refused / (taken + refused)).toBeLessThan(0.35);
  });
});

test('a request that was in flight at a refusal and is taken counts to what is expected', () => {
  const bucket = makeBucket(1000);
  bucket.phase = 'unmetered';
  bucket.taken = 5;
  refusedByUnknownLimit(bucket, leaseAt(1000));
  bucket.blockedAt = 1000;
  takenByApi(bucket, leaseAt(1000));
  // The first one after the refusal leaves five of six.
  takenByApi(bucket, leaseAt(5000));
  expect(maxInFlight(bucket)).toBe(5);
});

describe('an API that reports no count with the requests that it takes', () => {
  const limit = 40;
  const periodMs = 10_000;
  const windows = 20;
  const reports: [string, Report][] = [
    ['its limit with each answer', () => ({ limit })],
    [
      'its limit, its count and its reset with refusals',
      (isTaken, now) =>
        isTaken
          ? {}
          : { limit, remaining: 0, resetAt: (Math.floor(now / periodMs) + 1) * periodMs },
    ],
    [
      'its limit and its reset with refusals',
      (isTaken, now) =>
        isTaken ? {} : { limit, resetAt: (Math.floor(now / periodMs) + 1) * periodMs },
    ],
    [
      'its limit with each answer, and its count with refusals',
      (isTaken) => (isTaken ? { limit } : { limit, remaining: 0 }),
    ],
    [
      'its count and a Retry-After with refusals',
      (isTaken, now) =>
        isTaken ? {} : { remaining: 0, retryAt: (Math.floor(now / periodMs) + 1) * periodMs },
    ],
    [
      'its limit and a Retry-After with refusals',
      (isTaken, now) =>
        isTaken ? {} : { limit, retryAt: (Math.floor(now / periodMs) + 1) * periodMs },
    ],
  ];

  test.each(reports)('but %s is used as one that reports nothing', (_what, report) => {
    let window = -1;
    let used = 0;
    const { taken, refused } = run(
      (now) => {
        if (Math.floor(now / periodMs) !== window) {
          window = Math.floor(now / periodMs);
          used = 0;
        }
        return used++ < limit;
      },
      50,
      windows * periodMs,
      report,
    );
    expect(taken / (windows * limit)).toBeGreaterThan(0.7);
    expect(refused / windows).toBeLessThan(8);
  });
});
