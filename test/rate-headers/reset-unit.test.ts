import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ResetUnit } from '../../src/rate-headers/reset-unit.ts';
import { readReset, type Reset } from '../../src/rate-headers/reset-value.ts';

/** The delay that `unit` reads in the header value `text` at `at`, in milliseconds. */
function delayIn(unit: ResetUnit, text: string, at: number, bucket = 'one'): number | undefined {
  const reset = readReset(text);
  if (reset === undefined) throw new Error(`expected a reset, got ${text}`);
  const read = unit.read(bucket, reset, at);
  return read?.kind === 'delay' ? read.afterMs : undefined;
}

describe('a reset as a plain number', () => {
  test('is milliseconds if it counts down by a thousand in a second', () => {
    const unit = new ResetUnit();
    expect(delayIn(unit, '3000', 0)).toBeUndefined();
    expect(delayIn(unit, '2900', 100)).toBeUndefined();
    expect(delayIn(unit, '2790', 210)).toBe(2790);
    expect(delayIn(unit, '40', 2960)).toBe(40);
    expect(delayIn(unit, '3000', 3100)).toBe(3000);
  });

  test('is seconds if it counts down by one in a second, or stays the same', () => {
    const unit = new ResetUnit();
    expect(delayIn(unit, '3600', 0)).toBeUndefined();
    expect(delayIn(unit, '3600', 200)).toBeUndefined();
    expect(delayIn(unit, '3599', 900)).toBe(3_599_000);
    expect(delayIn(unit, '12', 3_589_000)).toBe(12_000);
  });

  test('is seconds at once if it is small', () => {
    const unit = new ResetUnit();
    expect(delayIn(unit, '60', 0)).toBe(60_000);
    expect(delayIn(unit, '999', 10)).toBe(999_000);
  });

  test('is judged for each bucket alone, whose windows start at other times', () => {
    const unit = new ResetUnit();
    // Between the buckets, the numbers seem to fall by a thousand in a second.
    for (let at = 0; at < 5000; at += 2000) {
      delayIn(unit, String(3600 - at / 1000), at, 'one');
      delayIn(unit, String(2600 - at / 1000), at + 1000, 'two');
    }
    expect(delayIn(unit, '3590', 10_000, 'one')).toBe(3_590_000);
  });

  test('has no influence on values whose unit is known', () => {
    const unit = new ResetUnit();
    const known: Reset[] = ['6m0s', '2026-11-28T10:00:00Z', '1795860000'].map((text) => {
      const reset = readReset(text);
      if (reset === undefined) throw new Error(`expected a reset, got ${text}`);
      return reset;
    });
    for (const reset of known) expect(unit.read('one', reset, 0)).toBe(reset);
  });

  test('is read in its unit after a few answers, however long they take', () => {
    const gaps = fc.array(fc.integer({ min: 60, max: 5000 }), { minLength: 4, maxLength: 20 });
    const noise = fc.integer({ min: 0, max: 20 });
    fc.assert(
      fc.property(fc.constantFrom(1, 1000), gaps, noise, (unitMs, steps, noiseMs) => {
        const unit = new ResetUnit();
        const windowMs = 3_600_000;
        let at = 0;
        let read: number | undefined;
        for (const [i, step] of steps.entries()) {
          at += step;
          const sentAt = at - (i % 2 === 0 ? noiseMs : 0);
          read = delayIn(unit, String(Math.ceil((windowMs - sentAt) / unitMs)), at);
        }
        expect(read).toBeDefined();
        expect(Math.abs((read ?? 0) - (windowMs - at))).toBeLessThanOrEqual(1000 + noiseMs);
      }),
    );
  });
});
