import { describe, expect, test } from 'vitest';
import {
  refusingBucket,
  reportsOf,
  type DrawnBucket,
} from '../../src/rate-headers/answer-by-bucket.ts';
import type { ReportedBudget } from '../../src/rate-headers/budget-groups.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const OWN: DrawnBucket = { configuredLimit: { limit: 200, periodMs: MINUTE_MS } };
const OBJECTS: DrawnBucket = {
  name: 'objects',
  configuredLimit: { limit: 10_000, periodMs: MINUTE_MS },
};
const DAILY: DrawnBucket = { name: 'daily', configuredLimit: { limit: 2000, periodMs: DAY_MS } };

function reset(afterMs: number): Pick<ReportedBudget, 'reset'> {
  return { reset: { kind: 'delay', afterMs, resolutionMs: 0 } };
}

describe('a report is that of the bucket with', () => {
  test('its name, whatever its limit', () => {
    const budgets = [
      { name: 'objects', limit: 200, remaining: 7 },
      { limit: 10_000, remaining: 3 },
    ];
    expect(reportsOf(budgets, [OWN, OBJECTS])).toEqual([undefined, 0]);
  });

  test('its limit', () => {
    const budgets = [
      { limit: 10_000, remaining: 9000 },
      { limit: 200, remaining: 150 },
    ];
    expect(reportsOf(budgets, [OWN, OBJECTS])).toEqual([1, 0]);
  });

  test('its period, if the limit is another one than stated', () => {
    const budgets = [
      { limit: 5000, remaining: 4000, periodMs: DAY_MS },
      { limit: 300, remaining: 150, periodMs: MINUTE_MS },
    ];
    expect(reportsOf(budgets, [DAILY, OWN])).toEqual([0, 1]);
  });
});

describe('the bucket that refused is', () => {
  const spent = [
    { limit: 200, remaining: 0, ...reset(1000) },
    { name: 'objects', remaining: 0, ...reset(5000) },
  ];

  test('the one that the answer names', () => {
    expect(refusingBucket(spent, [OWN, OBJECTS], 'objects')).toBe(1);
    expect(refusingBucket([...spent, {}], [OWN, OBJECTS, DAILY], 'daily')).toBe(2);
  });

  test('the one with nothing left, with the latest reset', () => {
    expect(refusingBucket(spent, [OWN, OBJECTS], undefined)).toBe(1);
    expect(refusingBucket(spent.toReversed(), [OBJECTS, OWN], 'another')).toBe(0);
  });

  test('the only one, unless something is left of it', () => {
    expect(refusingBucket([{}], [OWN], undefined)).toBe(0);
    expect(refusingBucket([{ remaining: 1 }], [OWN], undefined)).toBeUndefined();
  });

  test('unknown otherwise', () => {
    expect(refusingBucket([{ remaining: 1 }, {}], [OWN, OBJECTS], undefined)).toBeUndefined();
    expect(refusingBucket([undefined], [OWN], undefined)).toBeUndefined();
  });
});
