import { describe, expect, test } from 'vitest';
import { toObservation, type Answer } from '../../src/rate-headers/answer.ts';

const NOW = Date.UTC(2026, 10, 24, 6, 30, 0) + 123.456;

describe('an observation', () => {
  const answer = (reading: Answer['reading'], status = 200): Answer => ({
    status,
    reading,
    sentAt: 1000,
    receivedAt: 1100,
  });
  const offset = { low: 50, high: 80 };

  test('has the latest time that a reset can mean, on the API’s clock if it is an instant', () => {
    const reset = { kind: 'instant', atMs: NOW, resolutionMs: 1000 } as const;
    const near = { low: NOW - 5000, high: NOW - 4970 };
    expect(toObservation(answer({ reset }), near)).toMatchObject({
      resetAt: NOW + 1000,
      basis: 'instant',
      uncertaintyMs: 30 + 2000,
    });
  });

  test('has a reset on our clock if it is a delay', () => {
    const reset = { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 } as const;
    expect(toObservation(answer({ reset }), offset)).toMatchObject({
      resetAt: 1100 + 31_000,
      basis: 'delay',
      uncertaintyMs: 100 + 2000,
    });
  });

  test('has no reset that is more than forty days ahead', () => {
    const reset = { kind: 'delay', afterMs: 41 * 86_400_000, resolutionMs: 0 } as const;
    expect(toObservation(answer({ remaining: 1, reset }), offset).resetAt).toBeUndefined();
  });

  test('has no budget of a limit of 0, which is one of requests in flight or none', () => {
    const { limit, remaining, resetAt } = toObservation(
      {
        status: 429,
        reading: {
          limit: 0,
          remaining: 0,
          reset: { kind: 'delay', afterMs: 5000, resolutionMs: 0 },
        },
        sentAt: 0,
        receivedAt: 1000,
      },
      { low: 0, high: 0 },
    );
    expect([limit, remaining, resetAt]).toEqual([undefined, undefined, 6000]);
  });

  test('has exactly the time of Retry-After', () => {
    const retryAfter = { kind: 'delay', afterMs: 7000, resolutionMs: 1000 } as const;
    expect(toObservation(answer({ retryAfter }, 429), offset).retryAt).toBe(1100 + 7000);
  });
});
