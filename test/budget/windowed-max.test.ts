import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addToMax, makeWindowedMax, maxOf } from '../../src/budget/windowed-max.ts';

describe('the largest value seen', () => {
  test('is at least that of the last span, and at most that of the last two spans', () => {
    const values = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 10 }), (all, span) => {
        const largest = makeWindowedMax();
        for (const [i, value] of all.entries()) {
          addToMax(largest, value, span);
          const seen = all.slice(0, i + 1);
          expect(maxOf(largest)).toBeGreaterThanOrEqual(Math.max(...seen.slice(-span)));
          expect(maxOf(largest)).toBeLessThanOrEqual(Math.max(...seen.slice(-2 * span)));
        }
      }),
    );
  });

  test('is undefined before the first value', () => {
    expect(maxOf(makeWindowedMax())).toBeUndefined();
  });
});
