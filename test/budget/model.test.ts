import { describe, expect, test } from 'vitest';
import type { ResetFormat } from '../support/dialect.ts';
import type { Semantics } from '../support/limiter.ts';
import {
  simulate,
  type Interference,
  type SimulationOptions,
} from '../support/model-simulation.ts';

const HOUR_MS = 3_600_000;
/** So many that what a bucket learns in the first ones weighs little. */
const WINDOWS = 25;
const OTHER_PER_WINDOW = 60;

const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
const FORMATS: readonly ResetFormat[] = [
  'iso-zone',
  'iso-micros',
  'epoch-ceil',
  'epoch-floor',
  'delta-ceil',
  'delta-floor',
];
const EXACT: ReadonlySet<ResetFormat> = new Set<ResetFormat>(['iso-zone', 'iso-micros']);
const SKEWS_MS = [-HOUR_MS, 0, HOUR_MS];

describe.each(SEMANTICS)('a saturated bucket in front of a %s limit', (semantics) => {
  describe.each(FORMATS)('that reports its reset as %s', (reset) => {
    test.each(SKEWS_MS)('is used fully and never overrun, API clock off by %d ms', (skewMs) => {
      const result = simulate({ semantics, dialect: { reset }, skewMs, windows: WINDOWS });
      const exact = EXACT.has(reset);
      expect(result.throttledShare).toBeLessThanOrEqual(exact ? 0 : 0.01);
      expect(result.utilisation).toBeGreaterThanOrEqual(exact ? 0.985 : 0.96);
    });

    test.each([-400, 400])(
      'is used fully without a Date header, API clock off by %d ms',
      (skewMs) => {
        const options = { dialect: { reset }, skewMs, hasDate: false, windows: WINDOWS };
        const result = simulate({ semantics, ...options });
        expect(result.throttledShare).toBeLessThanOrEqual(EXACT.has(reset) ? 0 : 0.01);
        expect(result.utilisation).toBeGreaterThanOrEqual(0.96);
      },
    );

    test.each(SKEWS_MS)('is shared with another consumer, API clock off by %d ms', (skewMs) => {
      const other = { otherPerWindow: OTHER_PER_WINDOW, windows: WINDOWS };
      const result = simulate({ semantics, dialect: { reset }, skewMs, ...other });
      expect(result.throttledShare).toBeLessThanOrEqual(0.03);
      expect(result.utilisation).toBeGreaterThanOrEqual(0.93);
    });
  });
});

interface Hostile extends Omit<SimulationOptions, 'semantics'> {
  readonly semantics?: Semantics;
  /** How many requests per window are served after recovery; 200 unless given. */
  readonly servedPerWindow?: number;
}

describe('a bucket in front of a hostile API', () => {
  const DAY_MS = 24 * HOUR_MS;
  const proxyError: Interference = { status: 502, headers: {}, uncounted: true };
  const EVERY = ['fixed', 'aligned', 'sliding', 'leaky'] as const;
  const hostile: [string, Hostile][] = [
    // It reports the end of a window, by which half of it has returned.
    ['that counts in two weighted windows', { semantics: 'window-counter', servedPerWindow: 100 }],
    [
      'that reports the return of the oldest call as its reset',
      { semantics: 'oldest-plus-period' },
    ],
    ['that reports the next token as its reset', { semantics: 'next-token' }],
    ['that reports what remained before the call', { semantics: 'remaining-before' }],
    [
      'that reports once a reset an hour too late',
      {
        interfere: ({ number }) =>
          number === 700
            ? { report: (truth) => ({ ...truth, resetAtMs: truth.resetAtMs + HOUR_MS }) }
            : undefined,
      },
    ],
    [
      'that first reports that nothing remains until the next day',
      {
        interfere: ({ number }) =>
          number === 0
            ? {
                report: (truth) => ({
                  ...truth,
                  remaining: 0,
                  resetAtMs: truth.resetAtMs + DAY_MS,
                }),
              }
            : undefined,
      },
    ],
    [
      'that takes 150 s for every third request',
      {
        interfere: ({ random }) => (random() < 0.3 ? { latencyMs: 150_000 } : undefined),
        maxInFlight: 512,
      },
    ],
    [
      'whose proxy answers the first request with a 502',
      { interfere: ({ number }) => (number === 0 ? proxyError : undefined) },
    ],
    [
      'that raises the limit while nothing remains',
      { change: { atWindow: 5.5, run: (limiter) => limiter.setLimit(400) }, servedPerWindow: 400 },
    ],
    [
      'that lowers the limit in the middle of a window',
      { change: { atWindow: 5.5, run: (limiter) => limiter.setLimit(50) }, servedPerWindow: 50 },
    ],
    [
      'that reports another route’s day-long budget in some answers',
      {
        interfere: ({ number, apiNow }) => {
          if (number % 97 !== 50) return undefined;
          const other = { allowed: true, limit: 2000, remaining: 1999, retryAtMs: 0 };
          return { report: () => ({ ...other, resetAtMs: apiNow + DAY_MS }) };
        },
      },
    ],
  ];

  const cases = hostile.flatMap(([name, options]) =>
    (options.semantics === undefined ? EVERY : [options.semantics]).map(
      (semantics): [string, Semantics, Hostile] => [name, semantics, options],
    ),
  );

  test.each(cases)(
    '%s (%s) has at most 4 %% of its calls refused, and recovers',
    (_name, semantics, options) => {
      const result = simulate({ windows: WINDOWS, ...options, semantics });
      expect(result.throttledShare).toBeLessThanOrEqual(0.04);
      // A bucket that recovered spends the whole budget in its last windows.
      const lastWindows = result.servedByWindow.slice(-10);
      expect(lastWindows).toHaveLength(10);
      const served = lastWindows.reduce((sum, count) => sum + count, 0);
      expect(served / 10).toBeGreaterThanOrEqual(0.9 * (options.servedPerWindow ?? 200));
    },
  );

  test('a purge budget with a reset a day away rarely sends canaries, and is used fully each day', () => {
    const options = { semantics: 'fixed', limit: 2000, periodMs: DAY_MS } as const;
    const days = simulate({ ...options, windows: 3 });
    expect(days.servedByWindow.slice(0, 2)).toEqual([2000, 2000]);
    // Requests wait all day, so a canary is granted every fifteen minutes.
    expect(days.throttled / 3).toBeLessThanOrEqual(100);
    // Over both budgets, in the time of fifty windows of reads.
    const reads = simulate({ semantics: 'fixed', windows: 50 });
    const purges = simulate({ ...options, windows: 50 / 1440 });
    const refusedShare = (reads.throttled + purges.throttled) / (reads.sent + purges.sent);
    expect(purges.sent).toBeGreaterThanOrEqual(2000);
    expect(reads.throttled).toBe(0);
    expect(refusedShare).toBeLessThanOrEqual(0.04);
  });
});

describe('the measured utilisation', () => {
  const DEAD: Omit<SimulationOptions, 'semantics'> = {
    // From then on nothing ever remains, and no answer reports when that changes.
    change: { atWindow: WINDOWS / 5, run: (limiter) => limiter.setLimit(0) },
  };

  test.each(['fixed', 'aligned', 'sliding'] as const)(
    'is low for a %s budget that stops',
    (semantics) => {
      expect(simulate({ semantics, windows: WINDOWS, ...DEAD }).utilisation).toBeLessThan(0.3);
    },
  );

  test('is low for a limit of which half is used', () => {
    const result = simulate({ semantics: 'fixed', windows: WINDOWS, maxInFlight: 1, limit: 2000 });
    expect(result.utilisation).toBeLessThan(0.5);
  });
});
