import { describe, expect, test } from 'vitest';
import type { ResetFormat } from '../support/dialect.ts';
import type { Semantics } from '../support/limiter.ts';
import {
  simulate,
  type Interference,
  type SimulationOptions,
} from '../support/model-simulation.ts';

const HOUR_MS = 3_600_000;
const WINDOWS = 50;
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
    test.each(SKEWS_MS)(
      'is used to the full and never overrun, API clock off by %d ms',
      (skewMs) => {
        const result = simulate({ semantics, dialect: { reset }, skewMs, windows: WINDOWS });
        const exact = EXACT.has(reset);
        expect(result.throttledShare).toBeLessThanOrEqual(exact ? 0 : 0.01);
        expect(result.utilisation).toBeGreaterThanOrEqual(exact ? 0.985 : 0.96);
      },
    );

    test.each([-400, 400])(
      'is used to the full without a Date header, API clock off by %d ms',
      (skewMs) => {
        const options = { dialect: { reset }, skewMs, hasDate: false, windows: WINDOWS };
        const result = simulate({ semantics, ...options });
        expect(result.throttledShare).toBeLessThanOrEqual(EXACT.has(reset) ? 0 : 0.01);
        expect(result.utilisation).toBeGreaterThanOrEqual(0.96);
      },
    );

    test.each(SKEWS_MS)('shares it with another consumer, API clock off by %d ms', (skewMs) => {
      const other = { otherPerWindow: OTHER_PER_WINDOW, windows: WINDOWS };
      const result = simulate({ semantics, dialect: { reset }, skewMs, ...other });
      expect(result.throttledShare).toBeLessThanOrEqual(0.03);
      expect(result.utilisation).toBeGreaterThanOrEqual(0.93);
    });
  });
});

interface Hostile extends Omit<SimulationOptions, 'semantics'> {
  readonly semantics?: Semantics;
  /** What a bucket that recovered is served a window; 200 unless said. */
  readonly tailPerWindow?: number;
}

describe('a bucket in front of a hostile API', () => {
  const DAY_MS = 24 * HOUR_MS;
  const edgeError: Interference = { status: 502, headers: {}, uncounted: true };
  const EVERY = ['fixed', 'aligned', 'sliding', 'leaky'] as const;
  const hostile: [string, Hostile][] = [
    // It reports the end of a window, and gives half back by then.
    ['that counts with two weighed windows', { semantics: 'window-counter', tailPerWindow: 100 }],
    ['that resets when its oldest call comes back', { semantics: 'oldest-plus-period' }],
    ['that resets when its next token comes', { semantics: 'next-token' }],
    ['that reports what was left before the call', { semantics: 'remaining-before' }],
    [
      'that says once that its reset is an hour away',
      {
        interfere: ({ number }) =>
          number === 700
            ? { report: (said) => ({ ...said, resetAtMs: said.resetAtMs + HOUR_MS }) }
            : undefined,
      },
    ],
    [
      'that first says nothing is left until tomorrow',
      {
        interfere: ({ number }) =>
          number === 0
            ? { report: (said) => ({ ...said, remaining: 0, resetAtMs: said.resetAtMs + DAY_MS }) }
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
      'whose edge answers first, with a 502',
      { interfere: ({ number }) => (number === 0 ? edgeError : undefined) },
    ],
    [
      'that raises the limit while nothing is left',
      { change: { atWindow: 5.5, run: (limiter) => limiter.setLimit(400) }, tailPerWindow: 400 },
    ],
    [
      'that lowers the limit in the middle of a window',
      { change: { atWindow: 5.5, run: (limiter) => limiter.setLimit(50) }, tailPerWindow: 50 },
    ],
    [
      'that mixes a day-long budget of another route into the answers',
      {
        interfere: ({ number, apiNow }) => {
          if (number % 97 !== 50) return undefined;
          const said = { allowed: true, limit: 2000, remaining: 1999, retryAtMs: 0 };
          return { report: () => ({ ...said, resetAtMs: apiNow + DAY_MS }) };
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
    '%s (%s) overruns it in at most four calls of a hundred and recovers',
    (_name, semantics, options) => {
      const result = simulate({ windows: WINDOWS, ...options, semantics });
      expect(result.throttledShare).toBeLessThanOrEqual(0.04);
      // A bucket that recovered spends in its last windows what there is to spend.
      const tail = result.servedByWindow.slice(-10);
      expect(tail).toHaveLength(10);
      const served = tail.reduce((sum, count) => sum + count, 0);
      expect(served / 10).toBeGreaterThanOrEqual(0.9 * (options.tailPerWindow ?? 200));
    },
  );

  test('a purge with a day’s reset beside reads asks seldom, and is served anew each day', () => {
    const options = { semantics: 'fixed', limit: 2000, periodMs: DAY_MS } as const;
    const days = simulate({ ...options, windows: 3 });
    expect(days.servedByWindow.slice(0, 2)).toEqual([2000, 2000]);
    // Somebody waits all day, so a canary goes each quarter of an hour.
    expect(days.throttled / 3).toBeLessThanOrEqual(100);
    // In the time of fifty windows of reads, over both budgets.
    const reads = simulate({ semantics: 'fixed', windows: WINDOWS });
    const purges = simulate({ ...options, windows: WINDOWS / 1440 });
    const share = (reads.throttled + purges.throttled) / (reads.sent + purges.sent);
    expect(purges.sent).toBeGreaterThanOrEqual(2000);
    expect(reads.throttled).toBe(0);
    expect(share).toBeLessThanOrEqual(0.04);
  });
});

describe('the measure of utilisation', () => {
  const DEAD: Omit<SimulationOptions, 'semantics'> = {
    // From then on nothing is ever left, and no answer says when that will be otherwise.
    change: { atWindow: 10, run: (limiter) => limiter.setLimit(0) },
  };

  test.each(['fixed', 'aligned', 'sliding'] as const)(
    'tells of a %s budget that dies',
    (semantics) => {
      expect(simulate({ semantics, windows: WINDOWS, ...DEAD }).utilisation).toBeLessThan(0.3);
    },
  );

  test('tells of a limit of which half is used', () => {
    const result = simulate({ semantics: 'fixed', windows: WINDOWS, maxInFlight: 1, limit: 2000 });
    expect(result.utilisation).toBeLessThan(0.5);
  });
});
