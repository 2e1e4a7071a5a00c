import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Semantics } from '../support/limiter.ts';
import { makeBucket, type Bucket } from '../../src/budget/bucket.ts';
import { startShare } from '../../src/budget/known-budget.ts';
import { advance, countLost } from '../../src/budget/refill.ts';
import { shareGranted } from '../../src/budget/share.ts';
import { LocalBudget } from '../../src/ledger/local/local-budget.ts';
import { runReplicas, type ReplicaPlan } from '../support/share-world.ts';

const PERIOD_MS = 20_000;

/** A replica that spent operations before the outage, and starts its share within 400 ms. */
function replica(callEveryMs: number | undefined): fc.Arbitrary<ReplicaPlan> {
  return fc.record({
    spentAgoMs: fc.array(fc.integer({ min: 1, max: PERIOD_MS - 1 }), { maxLength: 40 }),
    lateMs: fc.integer({ min: 0, max: 400 }),
    callEveryMs: fc.constant(callEveryMs),
    tripsMs: fc.array(fc.integer({ min: 2, max: 200 }), { minLength: 1, maxLength: 5 }),
  });
}

const EXACT: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];

describe.each(EXACT)('shares of a %s limit', (semantics) => {
  const world = { semantics, periodMs: PERIOD_MS, runMs: 3 * PERIOD_MS };

  test('hardly ever overrun it while calls wait at all replicas', () => {
    const replicas = fc.array(replica(0), { minLength: 2, maxLength: 5 });
    const worlds = fc.tuple(replicas, fc.integer({ min: 40, max: 100 }));
    let sent = 0;
    let capacity = 0;
    const refused = fc.sample(worlds, 100).map(([all, limit]) => {
      const seen = runReplicas({ ...world, limit, replicas: all }).flat();
      sent += seen.length;
      capacity += (limit * world.runMs) / PERIOD_MS;
      return { count: seen.filter(({ accepted }) => !accepted).length, limit, replicas: all };
    });
    const worst = refused.toSorted((a, b) => b.count - a.count)[0];
    const refusedShare = refused.reduce((sum, { count }) => sum + count, 0) / sent;
    // A replica may be refused when it borrows, or when it reclaims what another has spent. If each
    // replica only took its share of what remains, again and again, 5 to 18 % would be refused.
    expect(refusedShare, `the worst was ${JSON.stringify(worst)}`).toBeLessThan(0.02);
    expect(sent / capacity).toBeGreaterThan(0.9);
  });

  test('let the only replica that has calls borrow what the others leave', () => {
    const idle = fc.array(replica(undefined), { minLength: 1, maxLength: 4 });
    const limit = 150;
    /** From 0 over 1, in the middle of the last two periods, to 0. */
    const weightAt = (at: number): number =>
      Math.max(0, 1 - Math.abs(at - world.runMs + PERIOD_MS) / PERIOD_MS);
    fc.assert(
      fc.property(replica(100), idle, (busy, others) => {
        const [sent = []] = runReplicas({ ...world, limit, replicas: [busy, ...others] });
        // Half of a budget is spent as its window opens. The weights of two such moments, a period apart,
        // have a sum of 1, wherever in the period they are.
        const served = sent.reduce(
          (sum, { at, accepted }) => sum + (accepted ? weightAt(at) : 0),
          0,
        );
        expect(served).toBeGreaterThan(0.9 * limit);
      }),
      { numRuns: 100 },
    );
  });
});

describe.each<Semantics>(['fixed', 'sliding', 'leaky'])('shares of a %s limit', (semantics) => {
  test.each([3, 10])('are available to a replica that starts late, one of %d', (count) => {
    const idle: ReplicaPlan = { spentAgoMs: [], lateMs: 0, callEveryMs: undefined, tripsMs: [30] };
    const busy: ReplicaPlan = { ...idle, callEveryMs: 20 };
    const late: ReplicaPlan = { ...busy, callsFromMs: PERIOD_MS + 5000 };
    const replicas = [busy, late, ...Array.from({ length: count - 2 }, () => idle)];
    const runMs = 6 * PERIOD_MS;
    const [, sent = []] = runReplicas({
      semantics,
      limit: 60,
      periodMs: PERIOD_MS,
      replicas,
      runMs,
    });
    const served = sent.filter(({ at, accepted }) => accepted && at > 2 * PERIOD_MS);
    expect(served.length).toBeGreaterThan((0.9 * 4 * 60) / count);
  });
});

test('shares of a window borrow in vain at most once per window, however slow the answers are', () => {
  const busy: ReplicaPlan = { spentAgoMs: [], lateMs: 0, callEveryMs: 0, tripsMs: [3000] };
  const replicas = Array.from({ length: 5 }, () => busy);
  const world = { semantics: 'fixed', periodMs: PERIOD_MS, runMs: 6 * PERIOD_MS } as const;
  for (const sent of runReplicas({ ...world, limit: 100, replicas })) {
    expect(sent.filter(({ accepted }) => !accepted).length).toBeLessThanOrEqual(6);
  }
});

describe('shares of a sliding limit', () => {
  const world = { semantics: 'sliding', periodMs: PERIOD_MS, runMs: 3 * PERIOD_MS } as const;
  const idle: ReplicaPlan = { spentAgoMs: [], lateMs: 0, callEveryMs: undefined, tripsMs: [20] };

  test('let a replica borrow although its own slots return continuously', () => {
    const spentAgoMs = Array.from({ length: 100 }, (_, i) => 200 * i + 100);
    const busy: ReplicaPlan = { ...idle, spentAgoMs, callEveryMs: 50 };
    const [sent = []] = runReplicas({ ...world, limit: 300, replicas: [busy, idle, idle] });
    const served = sent.filter(({ at, accepted }) => accepted && at > world.runMs - PERIOD_MS);
    expect(served.length).toBeGreaterThan(0.9 * 300);
  });

  test('let a replica borrow although its own slots return in bursts', () => {
    const spentAgoMs = Array.from({ length: 100 }, (_, i) => 1000 * Math.floor(i / 5) + 500);
    const busy: ReplicaPlan = { ...idle, spentAgoMs, callEveryMs: 50 };
    const [sent = []] = runReplicas({ ...world, limit: 300, replicas: [busy, idle, idle] });
    const served = sent.filter(({ at, accepted }) => accepted && at > world.runMs - PERIOD_MS);
    expect(served.length).toBeGreaterThan(0.9 * 300);
  });
});

test.each<[string, Semantics, number]>([
  ['that had no calls for a while', 'sliding', 17_000],
  ['whose window was reset and spent by another replica', 'fixed', 38_000],
])('a share %s has at most one request refused', (_which, semantics, callsFromMs) => {
  const busy: ReplicaPlan = { spentAgoMs: [], lateMs: 0, callEveryMs: 100, tripsMs: [20] };
  const late: ReplicaPlan = { ...busy, callEveryMs: 0, callsFromMs };
  const world = { semantics, periodMs: PERIOD_MS, runMs: callsFromMs + 1000 };
  const sent = runReplicas({ ...world, limit: 60, replicas: [busy, late, late] });
  expect(sent[0]?.length).toBeGreaterThan(50);
  const refused = sent.map((seen) => seen.filter(({ accepted }) => !accepted).length);
  expect(Math.max(...refused)).toBeLessThanOrEqual(1);
});

describe('a share', () => {
  const NO_OFFSET = { low: 0, high: 0 };
  const T0 = 1_000_000;

  /** One of three shares. This replica has `own` slots spent; `remaining` operations remain in all. */
  function shareOf(
    limit: number,
    { own, remaining, at = T0 }: { own: number; remaining: number; at?: number },
  ): LocalBudget {
    const bucket = new LocalBudget(T0);
    const resetAt = T0 + PERIOD_MS;
    const reported = { limit, remaining, resetAt, at, uncertaintyMs: 0, periodMs: PERIOD_MS };
    bucket.startShare({ reported, blockedUntil: undefined, slots: [[resetAt, own]] }, 3, T0);
    return bucket;
  }

  function grantAll(bucket: LocalBudget, now: number): number {
    let count = 0;
    bucket.advance(now, NO_OFFSET);
    for (; bucket.offer(now) !== undefined; count++) bucket.grant(now);
    return count;
  }

  test('reserves one operation for a second, and announces when it is granted', () => {
    const bucket = shareOf(90, { own: 0, remaining: 90 });
    expect(grantAll(bucket, T0 + 300)).toBe(29);
    expect(bucket.nextWakeAt(T0 + 300)).toBe(T0 + 1000);
    expect(grantAll(bucket, T0 + 999)).toBe(0);
    expect(grantAll(bucket, T0 + 1000)).toBe(1);
  });

  test('reserves one operation after a reset too', () => {
    const bucket = shareOf(90, { own: 30, remaining: 0 });
    const now = T0 + PERIOD_MS;
    bucket.advance(now, NO_OFFSET);
    const canary = bucket.grant(now);
    expect(canary.kind).toBe('canary');
    const report = { limit: 90, remaining: 89, resetAt: now + PERIOD_MS, basis: 'delay' as const };
    const answer = { ...report, status: 200, sameWithinMs: 0, uncertaintyMs: 0, receivedAt: now };
    bucket.answered(canary, answer, now, () => 0.5);
    expect(grantAll(bucket, now)).toBe(28);
    expect(grantAll(bucket, now + 1000)).toBe(1);
  });

  test('reclaims one operation at a time while other replicas borrow', () => {
    const bucket = shareOf(90, { own: 29, remaining: 2 });
    expect(grantAll(bucket, T0)).toBe(0);
    expect(bucket.nextWakeAt(T0)).toBe(T0 + 1000);
    expect(grantAll(bucket, T0 + 1000)).toBe(1);
    // Its share is now used up, and what remains is not enough for all replicas.
    expect(grantAll(bucket, T0 + 10_000)).toBe(0);
    const other = shareOf(90, { own: 25, remaining: 2 });
    expect(grantAll(other, T0 + 1000)).toBe(1);
    const everyMs = (3 * PERIOD_MS) / 90;
    expect(other.nextWakeAt(T0 + 1000)).toBeCloseTo(T0 + 1000 + everyMs);
    expect(grantAll(other, T0 + 1001 + everyMs)).toBe(1);
  });

  test('starts with a canary when the last report is old', () => {
    const bucket = shareOf(90, { own: 0, remaining: 90, at: T0 - 1001 });
    bucket.advance(T0, NO_OFFSET);
    expect(bucket.grant(T0).kind).toBe('canary');
    expect(grantAll(bucket, T0)).toBe(0);
  });

  test('is a share of the configured limit while the API reports none', () => {
    const bucket = new LocalBudget(T0, { limit: 90, periodMs: PERIOD_MS });
    bucket.startShare({ reported: undefined, blockedUntil: undefined, slots: [] }, 3, T0);
    const answer = { status: 200, basis: 'delay' as const, sameWithinMs: 0, uncertaintyMs: 0 };
    for (let period = 0; period < 3; period++) {
      let served = 0;
      for (let ms = 0; ms < PERIOD_MS; ms += 100) {
        const now = T0 + period * PERIOD_MS + ms;
        bucket.advance(now, NO_OFFSET);
        for (; bucket.offer(now) !== undefined; served++) {
          bucket.answered(bucket.grant(now), { ...answer, receivedAt: now }, now, () => 0.5);
        }
      }
      expect(served).toBe(30);
    }
  });

  test('needs no canary for a configured limit while the API reports none', () => {
    const bucket = new LocalBudget(T0, { limit: 90, periodMs: PERIOD_MS });
    bucket.startShare({ reported: undefined, blockedUntil: undefined, slots: [] }, 3, T0);
    expect(grantAll(bucket, T0 + 5000)).toBe(30);
  });

  test('borrows only after an answer shows what the others leave', () => {
    const bucket = shareOf(90, { own: 0, remaining: 90 });
    expect(grantAll(bucket, T0)).toBe(29);
    expect(grantAll(bucket, T0 + 1000)).toBe(1);
    expect(grantAll(bucket, T0 + 5000)).toBe(0);
  });

  test('keeps its other slots when a request is lost', () => {
    const bucket = shareOf(90, { own: 25, remaining: 65 });
    bucket.advance(T0, NO_OFFSET);
    bucket.lost(bucket.grant(T0), T0);
    expect(grantAll(bucket, T0)).toBe(3);
  });

  test('forecasts that it may borrow while exactly one operation remains for each replica', () => {
    const bucket = shareOf(90, { own: 30, remaining: 5 });
    let now = T0 + 1000;
    for (let lost = 0; lost < 2; lost++) {
      bucket.advance(now, NO_OFFSET);
      bucket.lost(bucket.grant(now), now);
      now = bucket.nextWakeAt(now);
    }
    const paceMs = PERIOD_MS / 90;
    expect(now).toBeCloseTo(T0 + 1000 + 2 * paceMs);
    expect(bucket.eta(1, now - 1)).toBe(now);
  });

  test('forecasts the reserved operation, and what it may borrow', () => {
    const bucket = shareOf(90, { own: 0, remaining: 90 });
    expect(grantAll(bucket, T0)).toBe(29);
    expect(bucket.eta(1, T0)).toBe(T0 + 1000);
    const used = shareOf(90, { own: 30, remaining: 60 });
    used.advance(T0, NO_OFFSET);
    const paceMs = PERIOD_MS / 90;
    expect(used.eta(1, T0)).toBe(T0 + 1000);
    expect(used.eta(11, T0)).toBeCloseTo(T0 + 1000 + 10 * paceMs);
    expect(used.eta(61, T0)).toBe(T0 + 3 * PERIOD_MS);
    const enough = shareOf(90, { own: 30, remaining: 3 });
    enough.advance(T0, NO_OFFSET);
    expect(enough.eta(1, T0)).toBe(T0 + 1000);
    expect(enough.eta(2, T0)).toBe(T0 + PERIOD_MS);
    const reclaiming = shareOf(90, { own: 25, remaining: 2 });
    reclaiming.advance(T0, NO_OFFSET);
    expect(reclaiming.eta(2, T0)).toBeCloseTo(T0 + 1000 + 3 * paceMs);
    const ownOnly = shareOf(90, { own: 90, remaining: 0 });
    ownOnly.advance(T0, NO_OFFSET);
    expect(ownOnly.eta(90, T0)).toBe(T0 + PERIOD_MS);
  });

  test('ends its reservation in time, however late it is advanced', () => {
    const bucket = shareOf(90, { own: 30, remaining: 0 });
    const now = T0 + PERIOD_MS + 5000;
    bucket.advance(now, NO_OFFSET);
    expect(bucket.view(now)).toMatchObject({ remaining: 30 });
  });

  test('of one operation reserves nothing', () => {
    expect(grantAll(shareOf(3, { own: 0, remaining: 3 }), T0)).toBe(1);
  });

  test('that is overspent shows nothing remaining', () => {
    const bucket = shareOf(90, { own: 40, remaining: 50 });
    expect(grantAll(bucket, T0)).toBe(0);
    expect(bucket.view(T0)).toMatchObject({ limit: 30, remaining: 0 });
  });
});

describe('the record of a share', () => {
  const NOW = 1_000_000;

  /** One of three shares of `limit`, of which `remaining` remain and this replica spent one. */
  function shareOf(limit: number, remaining: number): Bucket {
    const bucket = makeBucket(NOW);
    const resetAt = NOW + 60_000;
    const reported = { limit, remaining, resetAt, uncertaintyMs: 0, periodMs: 60_000 };
    startShare(bucket, { reported, blockedUntil: undefined, slots: [[NOW + 9000, 1]] }, 3, NOW);
    return bucket;
  }

  test('counts what remains in all, with what returned to this replica and without what it lost', () => {
    const bucket = shareOf(30, 12);
    countLost(bucket, 2, NOW);
    expect(bucket.share?.totalRemaining).toBe(10);
    advance(bucket, NOW + 9000);
    expect(bucket.share?.totalRemaining).toBe(11);
  });

  test('waits for the others after a grant that leaves a quarter of the share, else for its pace', () => {
    const borrowsAfterMs = (own: number): number => {
      const bucket = shareOf(60, 60);
      const now = NOW + 5000;
      shareGranted(bucket, own, 300, now);
      return (bucket.share?.borrowAt ?? Number.NaN) - now;
    };
    expect([5, 4].map(borrowsAfterMs)).toEqual([1000, 300]);
  });
});
