import { describe, expect, test } from 'vitest';
import type { ResetFormat } from '../support/dialect.ts';
import type { Semantics } from '../support/limiter.ts';
import { simulate, type Meddling, type SimulationOptions } from '../support/model-simulation.ts';

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

    test.each(SKEWS_MS)('shares it with another consumer, API clock off by %d ms', (skewMs) => {
      const other = { otherPerWindow: OTHER_PER_WINDOW, windows: WINDOWS };
      const result = simulate({ semantics, dialect: { reset }, skewMs, ...other });
      expect(result.throttledShare).toBeLessThanOrEqual(0.03);
      expect(result.utilisation).toBeGreaterThanOrEqual(0.93);
    });
  });
});

describe('a bucket in front of a hostile API', () => {
  const DAY_MS = 24 * HOUR_MS;
  const edgeError: Meddling = { status: 502, headers: {}, uncounted: true };
  const hostile: [string, Omit<SimulationOptions, 'semantics'> & { semantics?: Semantics }][] = [
    ['that counts with two weighed windows', { semantics: 'window-counter' }],
    ['that resets when its oldest call comes back', { semantics: 'oldest-plus-period' }],
    ['that resets when its next token comes', { semantics: 'next-token' }],
    ['that reports what was left before the call', { semantics: 'remaining-before' }],
    [
      'that says once that its reset is an hour away',
      {
        meddle: ({ number }) =>
          number === 700
            ? { report: (said) => ({ ...said, resetAtMs: said.resetAtMs + HOUR_MS }) }
            : undefined,
      },
    ],
    [
      'that first says nothing is left until tomorrow',
      {
        meddle: ({ number }) =>
          number === 0
            ? { report: (said) => ({ ...said, remaining: 0, resetAtMs: said.resetAtMs + DAY_MS }) }
            : undefined,
      },
    ],
    [
      'that takes 150 s for every third request',
      {
        meddle: ({ chance }) => (chance() < 0.3 ? { latencyMs: 150_000 } : undefined),
        inFlight: 512,
      },
    ],
    [
      'whose edge answers first, with a 502',
      { meddle: ({ number }) => (number === 0 ? edgeError : undefined) },
    ],
    [
      'that raises the limit while nothing is left',
      {
        meddle: ({ number, limiter }) => {
          if (number === 500) limiter.setLimit(400);
          return undefined;
        },
      },
    ],
    [
      'that mixes a day-long budget of another route into the answers',
      {
        meddle: ({ number, apiNow }) => {
          if (number % 97 !== 50) return undefined;
          const said = { allowed: true, limit: 2000, remaining: 1999, retryAtMs: 0 };
          return { report: () => ({ ...said, resetAtMs: apiNow + DAY_MS }) };
        },
      },
    ],
  ];

  test.each(
    hostile.flatMap(([name, options]) =>
      (['fixed', 'sliding'] as const).map((usual): [string, Semantics, typeof options] => [
        name,
        options.semantics ?? usual,
        options,
      ]),
    ),
  )(
    '%s (%s) overruns it in at most four calls of a hundred and recovers',
    (_name, semantics, options) => {
      const result = simulate({ windows: WINDOWS, ...options, semantics });
      expect(result.throttledShare).toBeLessThanOrEqual(0.04);
      // A bucket that recovered serves in every later window what an API in its senses would let it.
      const later = result.servedByWindow.slice(5);
      for (let i = 0; i + 2 < later.length; i += 3) {
        const inThree = (later[i] ?? 0) + (later[i + 1] ?? 0) + (later[i + 2] ?? 0);
        expect(inThree).toBeGreaterThan(100);
      }
    },
  );
});
