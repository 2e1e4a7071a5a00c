import { describe, expect, test } from 'vitest';
import { byBucket, type DrawnBucket } from '../../src/rate-headers/answer-by-bucket.ts';
import type { ReportedBudget } from '../../src/rate-headers/budget-groups.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const OWN: DrawnBucket = { belief: { limit: 200, periodMs: MINUTE_MS } };
const OBJECTS: DrawnBucket = { name: 'objects', belief: { limit: 10_000, periodMs: MINUTE_MS } };
const DAILY: DrawnBucket = { name: 'daily', belief: { limit: 2000, periodMs: DAY_MS } };

function reset(afterMs: number): Pick<ReportedBudget, 'reset'> {
  return { reset: { kind: 'delay', afterMs, resolutionMs: 0 } };
}

function remaining(budgets: readonly ReportedBudget[], ...buckets: readonly DrawnBucket[]) {
  return byBucket({ budgets }, buckets).readings.map((reading) => reading.remaining);
}

describe('a report is the bucket of', () => {
  test('its name, whatever its limit', () => {
    const budgets = [
      { name: 'objects', limit: 200, remaining: 7 },
      { limit: 10_000, remaining: 3 },
    ];
    expect(remaining(budgets, OWN, OBJECTS)).toEqual([3, 7]);
  });

  test('its limit', () => {
    const budgets = [
      { limit: 10_000, remaining: 9000 },
      { limit: 200, remaining: 150 },
    ];
    expect(remaining(budgets, OWN, OBJECTS)).toEqual([150, 9000]);
  });

  test('its period, if the limit is another one than stated', () => {
    const budgets = [
      { limit: 5000, remaining: 4000, periodMs: DAY_MS },
      { limit: 300, remaining: 150, periodMs: MINUTE_MS },
    ];
    expect(remaining(budgets, DAILY, OWN)).toEqual([4000, 150]);
  });

  test('the class, if no other bucket is it: the most binding one', () => {
    const budgets = [
      { limit: 500, remaining: 40 },
      { limit: 100, remaining: 20 },
    ];
    expect(remaining(budgets, OBJECTS, OWN)).toEqual([undefined, 20]);
    expect(remaining([], OBJECTS, OWN)).toEqual([undefined, undefined]);
  });
});

describe('the bucket that refused is', () => {
  const spent = [
    { limit: 200, remaining: 0, ...reset(1000) },
    { name: 'objects', remaining: 0, ...reset(5000) },
  ];
  const wait = { kind: 'delay', afterMs: 9000, resolutionMs: 0 } as const;

  test('the one with nothing left, with the latest reset', () => {
    const { refusing, readings } = byBucket({ budgets: spent, retryAfter: wait }, [OWN, OBJECTS]);
    expect(refusing).toBe(1);
    expect(readings.map(({ retryAfter }) => retryAfter)).toEqual([undefined, wait]);
  });

  test('the one that the answer names', () => {
    expect(byBucket({ budgets: spent, scope: 'daily' }, [DAILY, OWN, OBJECTS]).refusing).toBe(0);
  });

  test('unknown, if all have something left', () => {
    const budgets = [{ limit: 200, remaining: 1 }];
    const { refusing, readings } = byBucket({ budgets, retryAfter: wait }, [OWN, OBJECTS]);
    expect(refusing).toBeUndefined();
    expect(readings[0]).toMatchObject({ remaining: 1, retryAfter: wait });
  });
});

test('what the call cost is told to the first bucket', () => {
  const { readings } = byBucket({ budgets: [], cost: 12 }, [OBJECTS, OWN]);
  expect(readings.map(({ cost }) => cost)).toEqual([12, undefined]);
});
