import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';

describe('the API clock', () => {
  test('is assumed to agree with ours within a second before the first Date', () => {
    const apiClock = new ApiClock();
    expect(apiClock.known).toBe(false);
    expect(apiClock.bounds(1000, 5000)).toEqual({ low: 3000, high: 5000 });
  });

  test('has bounds that contain the true offset and narrow to about a round trip', () => {
    const trip = fc.record({
      to: fc.integer({ min: 1, max: 80 }),
      back: fc.integer({ min: 1, max: 80 }),
    });
    const trips = fc.array(trip, { minLength: 1, maxLength: 60 });
    const skews = fc.integer({ min: -3_600_000, max: 3_600_000 });
    fc.assert(
      fc.property(trips, skews, fc.integer({ min: 0, max: 999 }), (all, skewMs, phase) => {
        const apiClock = new ApiClock();
        let now = 1_000_000 + phase;
        for (const { to, back } of all) {
          const dateMs = Math.floor((now + to + skewMs) / 1000) * 1000;
          apiClock.observe({ dateMs, sentAt: now, receivedAt: now + to + back });
          const { low, high } = apiClock.bounds(now + to + back, 0);
          expect(low).toBeLessThanOrEqual(skewMs);
          expect(high).toBeGreaterThanOrEqual(skewMs);
          now += 1017;
        }
        const { low, high } = apiClock.bounds(now, 0);
        expect(high - low).toBeLessThanOrEqual(all.length >= 60 ? 250 : 1200);
      }),
    );
  });

  test('restarts its bounds when a clock was set', () => {
    const apiClock = new ApiClock();
    apiClock.observe({ dateMs: 10_000, sentAt: 10_100, receivedAt: 10_200 });
    apiClock.observe({ dateMs: 3_610_000, sentAt: 11_100, receivedAt: 11_200 });
    expect(apiClock.bounds(11_200, 0)).toEqual({ low: 3_598_800, high: 3_599_900 });
  });

  test('widens its bounds with time', () => {
    const apiClock = new ApiClock();
    apiClock.observe({ dateMs: 10_000, sentAt: 10_100, receivedAt: 10_200 });
    const { low, high } = apiClock.bounds(10_200 + 3_600_000, 0);
    expect([low, high]).toEqual([-200 - 360, 900 + 360]);
  });
});
