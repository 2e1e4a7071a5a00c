import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LocalBudget } from '../../src/ledger/local/local-budget.ts';
import type { Basis, Observation } from '../../src/budget/observation.ts';
import {
  runWorld,
  type Fate,
  type SentRequest,
  type WorldOptions,
  type WorldResult,
} from '../support/bucket-world.ts';
import type { Semantics } from '../support/limiter.ts';

/** Each run of the suite has other worlds. */
const RUNS = Number(process.env['HEADGATE_TEST_RUNS'] ?? 30);
const EXACT: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];

/** Each way. A round trip takes less than the second for which requests wait for a canary's answer. */
const quick = fc.integer({ min: 1, max: 450 });
const slow = fc.oneof(quick, fc.integer({ min: 9000, max: 25_000 }));

const stated = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 });

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
    // Shorter than the minute after which a canary is granted in any state.
    periodMs: fc.integer({ min: leastPeriodMs, max: 50_000 }),
    fates,
    maxInFlight: fc.integer({ min: 1, max: 40 }),
    runMs: fc.constant(300_000),
    offsetMs: fc.integer({ min: -3_600_000, max: 3_600_000 }),
    belowMs: fc.integer({ min: 0, max: 500 }),
    aboveMs: fc.integer({ min: 0, max: 500 }),
    demandMs: fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 4 }),
  });
}

describe.each(EXACT)('a bucket in front of an exact %s limit', (semantics) => {
  // A leaky bucket's reset can pass before its answer arrives. The canary that is due a second later
  // may go although requests in flight spend all that remains. The API refused it in one of 50,000
  // worlds with costs.
  const isOverrun = ({ kind, accepted }: SentRequest): boolean =>
    !accepted && (semantics === 'leaky' ? kind === 'regular' : kind !== 'first');

  test('never grants more than remains, in whatever order answers arrive and sends fail', () => {
    const fates = fatesOf(['answered', 'answered', 'unsent'], quick, quick);
    fc.assert(
      fc.property(world(semantics, fates), (options) => {
        const { atTheApi } = runWorld(options);
        expect(atTheApi.filter(isOverrun)).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  test('never grants more operations than remain, whatever the requests cost', () => {
    const fates = fatesOf(['answered', 'answered', 'unsent'], quick, quick);
    fc.assert(
      fc.property(world(semantics, fates), stated, (options, costs) => {
        const { atTheApi } = runWorld({ ...options, costs });
        expect(atTheApi.filter(isOverrun)).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  // In a window everything returns at one time, which each answer reports. In a sliding log or a
  // leaky bucket a lost call returns at a time of its own that is never reported. The best guess may
  // then cost as many refused calls as calls were lost.
  const isWindow = semantics === 'fixed' || semantics === 'aligned';

  test.each<[string, Fate['kind'][], typeof quick]>([
    ['arrive late or after their leases expired', ['answered', 'unsent'], slow],
    ['are lost', ['answered', 'answered', 'unsent', 'lost-before', 'lost-after'], quick],
  ])('spends no slot before it returned when answers %s', (_case, kinds, back) => {
    fc.assert(
      fc.property(world(semantics, fatesOf(kinds, quick, back), 30_000), (options) => {
        const { atTheApi, unanswered } = runWorld({ ...options, trialsArrive: true });
        const refused = atTheApi.filter(({ kind, accepted }) => kind === 'regular' && !accepted);
        expect(refused.length).toBeLessThanOrEqual(isWindow ? 0 : unanswered);
      }),
      { numRuns: RUNS },
    );
  });

  test('announces every time at which it can grant, and never stops granting', () => {
    const fates = fatesOf(['answered', 'unsent', 'lost-before', 'lost-after'], quick, slow);
    fc.assert(
      fc.property(world(semantics, fates), stated, (options, costs) => {
        const { atTheApi, unannounced, longestWaitMs } = runWorld({ ...options, costs });
        expect(unannounced).toBe(0);
        // A refused canary doubles the minute after which the next one is granted.
        const refused = atTheApi.filter(({ accepted }) => !accepted).length;
        expect(longestWaitMs).toBeLessThanOrEqual(60_000 * 2 ** Math.min(refused, 4));
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a bucket in front of an exact sliding limit with no other consumer', () => {
  test('spends each slot soon after it returns, however close together slots return', () => {
    const fates = fatesOf(['answered'], quick, quick);
    fc.assert(
      fc.property(world('sliding', fates, 20_000), (options) => {
        const { limit, periodMs, belowMs = 0, aboveMs = 0 } = options;
        const { atTheApi } = runWorld({ ...options, maxInFlight: limit, demandMs: [] });
        const arrivals = atTheApi.filter(({ accepted }) => accepted).map(({ at }) => at);
        // It is uncertain what an answer's number includes for a round trip and twice the
        // uncertainty. For as long again, the bucket waits for another return. The canary's round
        // trip and the way to the API come on top.
        const uncertainMs = 900 + 2 * (belowMs + aboveMs);
        const lateMs = arrivals.slice(limit).map((at, i) => at - ((arrivals[i] ?? 0) + periodMs));
        expect(Math.max(...lateMs)).toBeLessThanOrEqual(2 * uncertainMs + 2 * 900);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a bucket in front of an API that reports arbitrary numbers', () => {
  const MAX_WINDOW = 1024;
  const MAX_WAIT_MS = 900_000;
  /** A longer instruction to wait is followed for an hour and more: see bucket.test.ts. */
  const MAX_INSTRUCTED_MS = 600_000;

  const count = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1e12 }));
  const ahead = fc.oneof(
    fc.integer({ min: -5000, max: 5000 }),
    fc.integer({ min: -1e10, max: 40 * 86_400_000 }),
    fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  );
  /** Times are relative to the answer; the world adds the time of the answer. */
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

  function atMost(maxMs: number, ms: number | undefined): number | undefined {
    return ms === undefined ? undefined : Math.min(ms, maxMs);
  }

  function worldOf(options: WorldOptions, reports: readonly Observation[]): WorldOptions {
    return {
      ...options,
      offsetMs: 0,
      runMs: 3_600_000,
      demandMs: [],
      lie(truth, number) {
        const {
          resetAt: reported,
          retryAt: instructed,
          ...rest
        } = reports[number % reports.length] ?? truth;
        // Without a count of what remains, a reset is an instruction to wait.
        const isInstruction = rest.remaining === undefined;
        const resetAt = isInstruction ? atMost(MAX_INSTRUCTED_MS, reported) : reported;
        const retryAt = atMost(MAX_INSTRUCTED_MS, instructed);
        const { receivedAt } = truth;
        return {
          ...rest,
          ...(resetAt === undefined ? {} : { resetAt: receivedAt + resetAt }),
          ...(retryAt === undefined ? {} : { retryAt: receivedAt + retryAt }),
          receivedAt,
        };
      },
    };
  }

  /** Lists the numbers that the bucket shows at `now` and that its documentation excludes. */
  function outOfBounds(bucket: LocalBudget, now: number, maxInFlight: number): string[] {
    const { limit, remaining, resetInMs, blockedForMs, leases } = bucket.view(now);
    const offersRegular = bucket.offer(now) === 'regular';
    const bounds: [name: string, value: number | undefined, min: number, max: number][] = [
      ['limit', limit, 1, 1e12],
      ['remaining', remaining, 0, limit ?? 0],
      ['leases', leases, 0, maxInFlight],
      ['resetInMs', resetInMs, Number.MIN_VALUE, Number.MAX_VALUE],
      ['blockedForMs', blockedForMs, Number.MIN_VALUE, Number.MAX_VALUE],
      ['nextWakeAt', bucket.nextWakeAt(now), now, now + MAX_WAIT_MS],
      ['eta of the first', bucket.eta(1, now), now, Number.MAX_VALUE],
      ['eta of the hundredth', bucket.eta(100, now), now, Number.MAX_VALUE],
    ];
    if (offersRegular) {
      bounds.push(['leases before a regular grant', leases, 0, (remaining ?? MAX_WINDOW) - 1]);
      bounds.push(['blockedForMs at a regular grant', blockedForMs ?? 0, 0, 0]);
    }
    return bounds
      .filter(([, value, min, max]) => value !== undefined && !(value >= min && value <= max))
      .map(([name, value, min, max]) => `${name} is ${value}, not within ${min} and ${max}`);
  }

  test('never throws, stays within its bounds, and grants at least every fifteen minutes', () => {
    const fates = fatesOf(
      ['answered', 'answered', 'unsent', 'lost-before', 'lost-after'],
      quick,
      slow,
    );
    const reports = fc.array(nonsense, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(world('fixed', fates), reports, (options, lies) => {
        const broken: string[] = [];
        let events = 0;
        const inspect = (bucket: LocalBudget, now: number): void => {
          // A busy world has millions of events: after the first thousands, a sample is enough.
          if (++events > 5000 && events % 97 !== 0) return;
          broken.push(...outOfBounds(bucket, now, options.maxInFlight));
        };
        let result: WorldResult | undefined;
        expect(() => {
          result = runWorld({ ...worldOf(options, lies), inspect });
        }).not.toThrow();
        expect(broken).toEqual([]);
        expect(result?.unannounced).toBe(0);
        expect(result?.longestWaitMs).toBeLessThanOrEqual(MAX_WAIT_MS);
      }),
      { numRuns: RUNS },
    );
  });
});
