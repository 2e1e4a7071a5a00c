import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Semantics } from '../support/limiter.ts';
import { Bucket } from '../../src/core/bucket.ts';
import { runParts, type Part } from '../support/parts-world.ts';

const PERIOD_MS = 20_000;

/** A replica that spent something before the outage, and notices it within 400 ms. */
function part(callEveryMs: number | undefined): fc.Arbitrary<Part> {
  return fc.record({
    spentAgoMs: fc.array(fc.integer({ min: 1, max: PERIOD_MS - 1 }), { maxLength: 40 }),
    lateMs: fc.integer({ min: 0, max: 400 }),
    callEveryMs: fc.constant(callEveryMs),
    tripsMs: fc.array(fc.integer({ min: 2, max: 200 }), { minLength: 1, maxLength: 5 }),
  });
}

const EXACT: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];

describe.each(EXACT)('parts of a %s limit', (semantics) => {
  const world = { semantics, periodMs: PERIOD_MS, runMs: 3 * PERIOD_MS };

  test('are hardly ever spent beyond it while calls wait at all of them', () => {
    const parts = fc.array(part(0), { minLength: 2, maxLength: 5 });
    const worlds = fc.tuple(parts, fc.integer({ min: 40, max: 100 }));
    let sent = 0;
    const refused = fc.sample(worlds, 100).map(([all, limit]) => {
      const seen = runParts({ ...world, limit, parts: all }).flat();
      sent += seen.length;
      return { count: seen.filter(({ accepted }) => !accepted).length, limit, parts: all };
    });
    const worst = refused.toSorted((a, b) => b.count - a.count)[0];
    const share = refused.reduce((sum, { count }) => sum + count, 0) / sent;
    // Where all began at once one may ask in vain for what the others leave. At once after a window's
    // reset or the outage's beginning, each of them taking its share of what is left, it is 5 to 18 %.
    expect(share, `the worst was ${JSON.stringify(worst)}`).toBeLessThan(0.005);
  });

  test('leave to one that is alone in having calls what the others do not spend', () => {
    const idle = fc.array(part(undefined), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(part(100), idle, (busy, others) => {
        const [sent = []] = runParts({ ...world, limit: 150, parts: [busy, ...others] });
        const served = sent.filter(({ at, accepted }) => accepted && at > world.runMs - PERIOD_MS);
        expect(served.length).toBeGreaterThan(0.9 * 150);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a part', () => {
  const LEVEL = { low: 0, high: 0 };
  const T0 = 1_000_000;

  /** One of three of a budget of which so much is out here, and as much more left. */
  function partOf(limit: number, { own, remaining }: { own: number; remaining: number }): Bucket {
    const bucket = new Bucket(T0);
    const resetAt = T0 + PERIOD_MS;
    const said = { limit, remaining, resetAt, uncertaintyMs: 0, periodMs: PERIOD_MS };
    bucket.assume({ said, blockedUntil: undefined, slots: [[resetAt, own]] }, 3, T0);
    return bucket;
  }

  function grantAll(bucket: Bucket, now: number): number {
    let count = 0;
    bucket.advance(now, LEVEL);
    for (; bucket.offer(now) !== undefined; count++) bucket.grant(now);
    return count;
  }

  test('has one go later than the others, and tells when', () => {
    const bucket = partOf(90, { own: 0, remaining: 90 });
    expect(grantAll(bucket, T0 + 300)).toBe(29);
    expect(bucket.nextWakeAt(T0 + 300)).toBe(T0 + 1000);
    expect(grantAll(bucket, T0 + 999)).toBe(0);
    expect(grantAll(bucket, T0 + 1000)).toBe(1);
  });

  test('has one go later after a reset too', () => {
    const bucket = partOf(90, { own: 30, remaining: 0 });
    const now = T0 + PERIOD_MS;
    bucket.advance(now, LEVEL);
    const canary = bucket.grant(now);
    expect(canary.kind).toBe('canary');
    const said = { limit: 90, remaining: 89, resetAt: now + PERIOD_MS, basis: 'delay' as const };
    const answer = { ...said, status: 200, sameWithinMs: 0, uncertaintyMs: 0, receivedAt: now };
    bucket.answered(canary, answer, now, () => 0.5);
    expect(grantAll(bucket, now)).toBe(28);
    expect(grantAll(bucket, now + 1000)).toBe(1);
  });

  test('of one operation has it go at once', () => {
    expect(grantAll(partOf(3, { own: 0, remaining: 3 }), T0)).toBe(1);
  });

  test('that is more than used up has nothing left', () => {
    const bucket = partOf(90, { own: 40, remaining: 50 });
    expect(grantAll(bucket, T0)).toBe(0);
    expect(bucket.view(T0)).toMatchObject({ limit: 30, remaining: 0 });
  });
});
