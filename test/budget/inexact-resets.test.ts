import { describe, expect, test } from 'vitest';
import type { ResetFormat } from '../support/dialect.ts';
import type { Semantics } from '../support/limiter.ts';
import { simulate } from '../support/model-simulation.ts';

const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding'];
const JITTERS_MS = [0, 0.1, 1, 2, 5, 10, 50];
/** Round trips of 5 ms, of 5 to 500 ms, and of 400 to 500 ms. */
const ONE_WAY_MS = [
  [2, 3],
  [2.5, 250],
  [200, 250],
] as const;

describe.each(SEMANTICS)('a saturated bucket in front of a %s limit', (semantics) => {
  const limit = 240;

  describe.each(ONE_WAY_MS)('with one-way times of %d to %d ms', (least, most) => {
    const options = { semantics, limit, oneWayMs: [least, most], windows: 12 } as const;

    test.each(JITTERS_MS)('is used fully and never overrun if resets vary by %d ms', (jitterMs) => {
      const result = simulate({ ...options, jitterMs });
      expect(result.throttled).toBe(0);
      expect(result.utilisation).toBeGreaterThanOrEqual(0.985);
    });

    const DELAYS: readonly ResetFormat[] = ['delta-float', 'delta-ceil', 'delta-floor'];
    test.each(DELAYS)('is hardly overrun if resets are delays (%s) that vary', (reset) => {
      // Rounding to seconds hides what differs by less than that.
      for (const jitterMs of reset === 'delta-float' ? JITTERS_MS : [0, 2, 50]) {
        const result = simulate({ ...options, jitterMs, dialect: { reset } });
        expect(result.throttledShare).toBeLessThanOrEqual(0.003);
        expect(result.utilisation).toBeGreaterThanOrEqual(0.96);
      }
    });
  });
});

/** Beyond this many windows, what an API's rounding shows is learned. */
const LEARNED_AFTER = 15;

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

describe('a saturated bucket whose resets are in whole seconds', () => {
  const common = { limit: 100, windows: 2 * LEARNED_AFTER } as const;
  const STAMPS: readonly ResetFormat[] = ['epoch-ceil', 'epoch-floor', 'http-date'];
  const SECONDS: readonly ResetFormat[] = [...STAMPS, 'delta-ceil', 'delta-floor'];
  const worlds = SECONDS.flatMap((reset) =>
    [ONE_WAY_MS[0], [20, 60] as const].flatMap((oneWayMs) => [
      { reset, oneWayMs, periodMs: 10_000 },
      { reset, oneWayMs, periodMs: 60_000 },
    ]),
  );

  test.each(worlds)(
    'is used soon after each reset of a window that a call opens, $reset, $oneWayMs, $periodMs',
    ({ reset, ...world }) => {
      for (const seed of [1, 2]) {
        const options = { ...common, ...world, dialect: { reset }, seed };
        const result = simulate({ ...options, semantics: 'fixed' });
        expect(medianOf(result.lateMs.slice(LEARNED_AFTER))).toBeLessThan(300);
        expect(Math.max(...result.throttledByWindow)).toBeLessThanOrEqual(1);
        // The tests of what is learned are refused once or twice, and no longer when it is known.
        expect(result.throttled).toBeLessThanOrEqual(4);
      }
    },
  );

  test.each(STAMPS)('is never overrun if windows are aligned to the clock, %s', (reset) => {
    for (const oneWayMs of ONE_WAY_MS) {
      const world = { ...common, semantics: 'aligned', periodMs: 10_000, oneWayMs } as const;
      const result = simulate({ ...world, dialect: { reset } });
      expect(result.throttled).toBe(0);
      // As soon as with exact stamps: the API's clock is known as well.
      const exact = medianOf(simulate(world).lateMs);
      expect(medianOf(result.lateMs)).toBeLessThanOrEqual(exact + 150);
    }
  });

  test('is tested no further if the tests keep failing', () => {
    // Another consumer opens most windows, at any time.
    const world = { ...common, semantics: 'fixed', periodMs: 10_000, otherPerWindow: 30 } as const;
    const result = simulate({ ...world, windows: 100, dialect: { reset: 'epoch-floor' } });
    expect(result.throttledShare).toBeLessThanOrEqual(0.03);
    expect(result.utilisation).toBeGreaterThanOrEqual(0.85);
  });
});
