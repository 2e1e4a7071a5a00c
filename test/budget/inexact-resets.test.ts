import { describe, expect, test } from 'vitest';
import type { ResetFormat } from '../support/dialect.ts';
import type { Semantics } from '../support/limiter.ts';
import { simulate, type SimulationOptions } from '../support/model-simulation.ts';

const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding'];
const JITTERS_MS = [0, 0.1, 1, 2, 5, 10, 50];
/** Round trips of 5 ms, of 5 to 500 ms, and of 400 to 500 ms. */
const ONE_WAY_MS: readonly (readonly [number, number])[] = [
  [2, 3],
  [2.5, 250],
  [200, 250],
];

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
      for (const jitterMs of JITTERS_MS) {
        const result = simulate({ ...options, jitterMs, dialect: { reset } });
        expect(result.throttledShare).toBeLessThanOrEqual(0.003);
        expect(result.utilisation).toBeGreaterThanOrEqual(0.96);
      }
    });
  });
});
