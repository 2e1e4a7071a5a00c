import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Basis, Observation } from '../../src/budget/observation.ts';
import { runWorld, type Fate, type WorldOptions } from '../support/bucket-world.ts';
import type { Semantics } from '../support/limiter.ts';

const EXACT: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];

/** Each way; a round trip stays under the second that a canary's answer is waited for. */
const quick = fc.integer({ min: 1, max: 450 });
const slow = fc.oneof(quick, fc.integer({ min: 9000, max: 25_000 }));

function fatesOf(
  kinds: readonly Fate['kind'][],
  toApi: fc.Arbitrary<number>,
  back: fc.Arbitrary<number>,
): fc.Arbitrary<Fate[]> {
  const fate = fc.record({ kind: fc.constantFrom(...kinds), toApiMs: toApi, backMs: back });
  return fc.array(fate, { minLength: 1, maxLength: 12 });
}

function world(
  semantics: Semantics,
  fates: fc.Arbitrary<Fate[]>,
  leastPeriodMs = 4000,
): fc.Arbitrary<WorldOptions> {
  return fc.record({
    semantics: fc.constant(semantics),
    limit: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 5, max: 30 })),
    // Shorter than the minute after which a canary goes whatever we believe.
    periodMs: fc.integer({ min: leastPeriodMs, max: 50_000 }),
    fates,
    inFlight: fc.integer({ min: 1, max: 40 }),
    runMs: fc.constant(300_000),
    offsetMs: fc.integer({ min: -3_600_000, max: 3_600_000 }),
    belowMs: fc.integer({ min: 0, max: 500 }),
    aboveMs: fc.integer({ min: 0, max: 500 }),
    demandMs: fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 4 }),
  });
}

describe.each(EXACT)('a bucket in front of an exact %s limit', (semantics) => {
  test('never grants more than is left, in whatever order answers come and sends fail', () => {
    const fates = fatesOf(['answered', 'answered', 'unsent'], quick, quick);
    fc.assert(
      fc.property(world(semantics, fates), (options) => {
        const { atTheApi } = runWorld(options);
        expect(atTheApi.filter(({ kind, accepted }) => kind !== 'first' && !accepted)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  // A window gives all back at a time that each answer tells. In a sliding log or a leaky bucket a
  // lost call's own time is known to nobody: the best guess may cost as many calls as were lost.
  const windowed = semantics === 'fixed' || semantics === 'aligned';

  test.each<[string, Fate['kind'][], typeof quick]>([
    ['come late or after their grants expired', ['answered', 'unsent'], slow],
    ['are lost', ['answered', 'answered', 'unsent', 'lost-before', 'lost-after'], quick],
  ])('grants no slot that is not there when answers %s', (_case, kinds, back) => {
    fc.assert(
      fc.property(world(semantics, fatesOf(kinds, quick, back), 30_000), (options) => {
        const { atTheApi, unanswered } = runWorld({ ...options, testsArrive: true });
        const refused = atTheApi.filter(({ kind, accepted }) => kind === 'regular' && !accepted);
        expect(refused.length).toBeLessThanOrEqual(windowed ? 0 : unanswered);
      }),
      { numRuns: 60 },
    );
  });

  test('tells of every moment at which something may go, and lets nobody wait for ever', () => {
    const fates = fatesOf(['answered', 'unsent', 'lost-before', 'lost-after'], quick, slow);
    fc.assert(
      fc.property(world(semantics, fates), (options) => {
        const { atTheApi, unannounced, longestStretchMs } = runWorld(options);
        expect(unannounced).toBe(0);
        // A refused canary doubles the minute after which the next one goes.
        const refused = atTheApi.filter(({ accepted }) => !accepted).length;
        expect(longestStretchMs).toBeLessThanOrEqual(60_000 * 2 ** Math.min(refused, 4));
      }),
      { numRuns: 60 },
    );
  });
});

describe('a bucket in front of an exact sliding limit that nobody else spends', () => {
  test('spends each slot soon after it is back, however close to one another they come', () => {
    const fates = fatesOf(['answered'], quick, quick);
    fc.assert(
      fc.property(world('sliding', fates, 20_000), (options) => {
        const { limit, periodMs, belowMs = 0, aboveMs = 0 } = options;
        const { atTheApi } = runWorld({ ...options, inFlight: limit, demandMs: [] });
        const arrivals = atTheApi.filter(({ accepted }) => accepted).map(({ at }) => at);
        // The doubt about an answer's number lasts for a round trip and twice the uncertainty; as
        // long again something else is waited for. Then the canary's round trip, and the way there.
        const doubtMs = 900 + 2 * (belowMs + aboveMs);
        const lateMs = arrivals.slice(limit).map((at, i) => at - ((arrivals[i] ?? 0) + periodMs));
        expect(Math.max(...lateMs)).toBeLessThanOrEqual(2 * doubtMs + 2 * 900);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a bucket in front of an API that says anything at all', () => {
  const count = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1e12 }));
  const ahead = fc.oneof(
    fc.integer({ min: -5000, max: 5000 }),
    fc.integer({ min: -1e10, max: 40 * 86_400_000 }),
    fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  );
  /** Times are relative to the answer; the world fills in when that is. */
  const nonsense: fc.Arbitrary<Observation> = fc.record(
    {
      status: fc.constantFrom(200, 200, 200, 401, 404, 429, 429, 500, 502),
      limit: count,
      remaining: count,
      resetAt: ahead,
      retryAt: ahead,
      basis: fc.constantFrom<Basis>('instant', 'delay'),
      sameWithinMs: fc.integer({ min: 0, max: 3000 }),
      uncertaintyMs: fc.integer({ min: 0, max: 5000 }),
      receivedAt: fc.constant(0),
    },
    { requiredKeys: ['status', 'basis', 'sameWithinMs', 'uncertaintyMs', 'receivedAt'] },
  );

  test('throws never, stays within its bounds and lets nobody wait longer than a quarter of an hour', () => {
    const fates = fatesOf(
      ['answered', 'answered', 'unsent', 'lost-before', 'lost-after'],
      quick,
      slow,
    );
    fc.assert(
      fc.property(
        world('fixed', fates),
        fc.array(nonsense, { minLength: 1, maxLength: 12 }),
        (options, sayings) => {
          const { longestStretchMs, unannounced } = runWorld({
            ...options,
            offsetMs: 0,
            runMs: 3_600_000,
            demandMs: [],
            lie(said, number) {
              const { resetAt, retryAt, ...rest } = sayings[number % sayings.length] ?? said;
              const { receivedAt } = said;
              return {
                ...rest,
                ...(resetAt === undefined ? {} : { resetAt: receivedAt + resetAt }),
                ...(retryAt === undefined ? {} : { retryAt: receivedAt + retryAt }),
                receivedAt,
              };
            },
          });
          expect(unannounced).toBe(0);
          expect(longestStretchMs).toBeLessThanOrEqual(900_000);
        },
      ),
      { numRuns: 60 },
    );
  });
});
