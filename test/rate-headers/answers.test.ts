import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { observe, type Answer } from '../../src/rate-headers/observation.ts';
import { readQuotaPolicies, readServiceLimits } from '../../src/rate-headers/ratelimit-fields.ts';
import { readAge, readRateLimit, type HeaderRecord } from '../../src/rate-headers/rate-headers.ts';
import { renderHeaders, type Family, type ResetFormat } from '../support/dialect.ts';

const NOW = Date.UTC(2026, 10, 24, 6, 30, 0) + 123.456;

const FAMILIES: readonly Family[] = ['x-ratelimit', 'x-rate-limit', 'ratelimit', 'structured'];
const FORMATS: readonly ResetFormat[] = [
  'iso-micros',
  'iso-zone',
  'iso-seconds',
  'iso-space',
  'epoch-ceil',
  'epoch-floor',
  'epoch-float',
  'epoch-ms',
  'delta-ceil',
  'delta-floor',
  'delta-float',
  'duration',
  'http-date',
];

describe.each(FAMILIES)('the headers of the %s family', (family) => {
  test.each(FORMATS)('say what the API meant, with a reset as %s', (reset) => {
    const counts = fc.integer({ min: 0, max: 1_000_000 });
    const ahead = fc.double({ min: 1, max: 86_400_000, noNaN: true });
    fc.assert(
      fc.property(counts, counts, ahead, (limit, remaining, aheadMs) => {
        const resetAtMs = NOW + aheadMs;
        const said = { allowed: true, limit, remaining, resetAtMs, retryAtMs: resetAtMs };
        const reading = readRateLimit(renderHeaders(said, NOW, { family, reset }));
        expect(reading).toMatchObject({ limit, remaining });
        expect(reading.doubtful).toBeUndefined();
        const at = reading.reset;
        if (at === undefined) throw new Error('expected a reset');
        const atMs = at.kind === 'instant' ? at.atMs : NOW + at.afterMs;
        // True to a step either way, and never later than said once the step is added.
        expect(Math.abs(atMs - resetAtMs)).toBeLessThanOrEqual(Math.max(at.resolutionMs, 1) + 0.01);
      }),
      { numRuns: 25 },
    );
  });
});

describe('rate limit headers', () => {
  test.each<[string, HeaderRecord, object]>([
    ['none', {}, {}],
    ['a count alone', { 'x-ratelimit-remaining': '0' }, { remaining: 0 }],
    [
      'a limit with the policies it comes from',
      { 'x-ratelimit-limit': '100, 100;w=60, 5000;w=3600', 'x-ratelimit-remaining': '9' },
      { limit: 100, remaining: 9 },
    ],
    [
      'the same line twice',
      { 'x-ratelimit-remaining': ['7', '7'], 'x-ratelimit-limit': '10, 10' },
      { remaining: 7, limit: 10 },
    ],
    [
      'two lines that differ',
      { 'x-ratelimit-remaining': '7, 8' },
      { doubtful: ['x-ratelimit-remaining'] },
    ],
    [
      'two families: the most binding, never mixed',
      {
        'x-ratelimit-limit': '100',
        'x-ratelimit-remaining': '50',
        'x-rate-limit-limit': '10',
        'x-rate-limit-remaining': '3',
      },
      { limit: 10, remaining: 3 },
    ],
    [
      'a structured field with several policies',
      {
        ratelimit: '"minute";r=5;t=30, "day";r=2;t=900',
        'ratelimit-policy': '"minute";q=10;w=60, "day";q=100;w=86400',
      },
      { limit: 100, remaining: 2, reset: { kind: 'delay', afterMs: 900_000, resolutionMs: 1000 } },
    ],
    [
      'draft 07',
      { ratelimit: 'limit=100, remaining=50, reset=30' },
      { limit: 100, remaining: 50, reset: { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 } },
    ],
    [
      'a budget of bytes, which is none of operations',
      { ratelimit: '"bytes";r=1', 'ratelimit-policy': '"bytes";q=1000;qu="content-bytes"' },
      {},
    ],
    ['a policy alone', { 'ratelimit-policy': '"default";q=100;w=60' }, { limit: 100 }],
    [
      'Retry-After beside garbage',
      { 'retry-after': '30', 'x-ratelimit-reset': 'soon' },
      {
        retryAfter: { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 },
        doubtful: ['x-ratelimit-reset'],
      },
    ],
  ])('%s', (_what, headers, reading) => {
    expect(readRateLimit(headers)).toEqual(reading);
  });

  test.each(['-1', '1.5', '1e3', '', ' 1', '0x1', 'NaN', '1,000', '99999999999999', '９'])(
    'remaining is not %j',
    (text) => {
      const reading = readRateLimit({ 'x-ratelimit-remaining': text });
      expect(reading).toEqual({ doubtful: ['x-ratelimit-remaining'] });
    },
  );

  test('never throw and never give numbers out of all reason, whatever the bytes', () => {
    const names = fc.constantFrom(
      'x-ratelimit-limit',
      'x-ratelimit-remaining',
      'x-ratelimit-reset',
      'ratelimit',
      'ratelimit-policy',
      'retry-after',
      'x-rate-limit-reset',
      'ratelimit-remaining',
      'age',
    );
    const bytes = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[-"a-z0-9;=,. :?()*]{0,60}$/),
      fc.string({ unit: 'binary' }),
    );
    const values = fc.oneof(bytes, fc.array(bytes, { maxLength: 3 }));
    fc.assert(
      fc.property(fc.dictionary(names, values), (headers) => {
        const { limit = 0, remaining = 0 } = readRateLimit(headers);
        for (const count of [limit, remaining, readAge(headers) ?? 0]) {
          expect(Number.isSafeInteger(count) && count >= 0 && count <= 1e12).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('of a hostile length are read in no time', () => {
    for (const value of ['1, '.repeat(20_000), '"a";r=1, '.repeat(20_000), '9'.repeat(100_000)]) {
      const headers = { 'x-ratelimit-limit': value, ratelimit: value, 'retry-after': value };
      expect(readRateLimit(headers).doubtful).toHaveLength(3);
    }
  });

  test.each<[string | undefined, number | undefined]>([
    [undefined, undefined],
    ['0', 0],
    ['60', 60],
    ['60, 0', 60],
    ['-1', undefined],
    ['old', undefined],
  ])('Age %j is %s', (age, seconds) => {
    expect(readAge({ age })).toBe(seconds);
  });
});

describe('the structured fields', () => {
  test.each([
    '',
    '"a"',
    '"a";r=-1',
    '"a";r=1.5',
    '"a";r="1"',
    '"a";r=1;t=-1',
    '("a" "b");r=1',
    '"a";r=1,',
    'limit=1, remaining=2',
    'limit=1, limit=2, remaining=2, reset=3',
    'limit=1, remaining=-0.5, reset=3',
  ])('RateLimit is not %j', (text) => {
    expect(readServiceLimits(text)).toBeUndefined();
  });

  test.each(['', '"a"', '"a";q=-1', 'q=1', '("a");q=1', '"a";q=1,'])(
    'RateLimit-Policy is not %j',
    (text) => {
      expect(readQuotaPolicies(text)).toBeUndefined();
    },
  );
});

describe('the offset of the API’s clock', () => {
  test('is unknown within a second before the first Date', () => {
    const offset = new ApiClock();
    expect(offset.known).toBe(false);
    expect(offset.bounds(1000, 5000)).toEqual({ low: 3000, high: 5000 });
  });

  test('contains the truth whatever the delays, and narrows to about a round trip', () => {
    const trip = fc.record({
      to: fc.integer({ min: 1, max: 80 }),
      back: fc.integer({ min: 1, max: 80 }),
    });
    const trips = fc.array(trip, { minLength: 1, maxLength: 60 });
    const skews = fc.integer({ min: -3_600_000, max: 3_600_000 });
    fc.assert(
      fc.property(trips, skews, fc.integer({ min: 0, max: 999 }), (all, skewMs, phase) => {
        const offset = new ApiClock();
        let now = 1_000_000 + phase;
        for (const { to, back } of all) {
          const dateMs = Math.floor((now + to + skewMs) / 1000) * 1000;
          offset.observe({ dateMs, sentAt: now, receivedAt: now + to + back });
          const { low, high } = offset.bounds(now + to + back, 0);
          expect(low).toBeLessThanOrEqual(skewMs);
          expect(high).toBeGreaterThanOrEqual(skewMs);
          now += 1017;
        }
        const { low, high } = offset.bounds(now, 0);
        expect(high - low).toBeLessThanOrEqual(all.length >= 60 ? 250 : 1200);
      }),
    );
  });

  test('starts afresh when a clock was set', () => {
    const offset = new ApiClock();
    offset.observe({ dateMs: 10_000, sentAt: 10_100, receivedAt: 10_200 });
    offset.observe({ dateMs: 3_610_000, sentAt: 11_100, receivedAt: 11_200 });
    expect(offset.bounds(11_200, 0)).toEqual({ low: 3_598_800, high: 3_599_900 });
  });

  test('gets less sure as time goes by', () => {
    const offset = new ApiClock();
    offset.observe({ dateMs: 10_000, sentAt: 10_100, receivedAt: 10_200 });
    const { low, high } = offset.bounds(10_200 + 3_600_000, 0);
    expect([low, high]).toEqual([-200 - 360, 900 + 360]);
  });
});

describe('an observation', () => {
  const answer = (reading: Answer['reading'], status = 200): Answer => ({
    status,
    reading,
    sentAt: 1000,
    receivedAt: 1100,
  });
  const offset = { low: 50, high: 80 };

  test('has a reset at its latest, on the clock of the API where it names an instant', () => {
    const reset = { kind: 'instant', atMs: NOW, resolutionMs: 1000 } as const;
    const near = { low: NOW - 5000, high: NOW - 4970 };
    expect(observe(answer({ reset }), near)).toMatchObject({
      resetAt: NOW + 1000,
      basis: 'instant',
      uncertaintyMs: 30 + 2000,
    });
  });

  test('has a reset on our clock where it counts from the answer', () => {
    const reset = { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 } as const;
    expect(observe(answer({ reset }), offset)).toMatchObject({
      resetAt: 1100 + 31_000,
      basis: 'delay',
      uncertaintyMs: 100 + 2000,
    });
  });

  test('takes no reset that is more than forty days away', () => {
    const reset = { kind: 'delay', afterMs: 41 * 86_400_000, resolutionMs: 0 } as const;
    expect(observe(answer({ remaining: 1, reset }), offset).resetAt).toBeUndefined();
  });

  test('follows Retry-After to the letter', () => {
    const retryAfter = { kind: 'delay', afterMs: 7000, resolutionMs: 1000 } as const;
    expect(observe(answer({ retryAfter }, 429), offset).retryAt).toBe(1100 + 7000);
  });
});
