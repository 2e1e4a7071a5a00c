import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
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
  test.each(FORMATS)('report what the API meant, with a reset as %s', (reset) => {
    const counts = fc.integer({ min: 0, max: 1_000_000 });
    const ahead = fc.double({ min: 1, max: 86_400_000, noNaN: true });
    fc.assert(
      fc.property(counts, counts, ahead, (limit, remaining, aheadMs) => {
        const resetAtMs = NOW + aheadMs;
        const state = { allowed: true, limit, remaining, resetAtMs, retryAtMs: resetAtMs };
        const reading = readRateLimit(renderHeaders(state, NOW, { family, reset }));
        expect(reading).toMatchObject({ limit, remaining });
        expect(reading.doubtful).toBeUndefined();
        const read = reading.reset;
        if (read === undefined) throw new Error('expected a reset');
        const atMs = read.kind === 'instant' ? read.atMs : NOW + read.afterMs;
        const toleranceMs = Math.max(read.resolutionMs, 1) + 0.01;
        expect(Math.abs(atMs - resetAtMs)).toBeLessThanOrEqual(toleranceMs);
      }),
      { numRuns: 25 },
    );
  });
});

describe('rate limit headers', () => {
  test.each<[string, HeaderRecord, object]>([
    ['none', {}, {}],
    ['only a remaining count', { 'x-ratelimit-remaining': '0' }, { remaining: 0 }],
    [
      'a limit with its policies',
      { 'x-ratelimit-limit': '100, 100;w=60, 5000;w=3600', 'x-ratelimit-remaining': '9' },
      { limit: 100, remaining: 9 },
    ],
    ['half of a pair without a mark', { 'x-page-limit': '50', 'x-items-remaining': '4' }, {}],
    [
      'a pair without a mark that counts no operations',
      { 'x-storage-limit': '50', 'x-storage-remaining': '4' },
      {},
    ],
    ['a name without a mark and a text', { 'x-send-limit': 'daily' }, {}],
    ['a mark and a text', { 'x-ratelimit-type': 'QPS', 'x-ratelimit-rule': 'a=b' }, {}],
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
      'two families: the most binding one, never a mix',
      {
        'x-ratelimit-limit': '100',
        'x-ratelimit-remaining': '50',
        'x-rate-limit-limit': '10',
        'x-rate-limit-remaining': '3',
      },
      { limit: 10, remaining: 3 },
    ],
    [
      'two families of one counter, of which one has no reset',
      {
        'x-rate-limit': '60',
        'ratelimit-limit': '60',
        'x-rate-limit-remaining': '51',
        'ratelimit-remaining': '50',
        'ratelimit-reset': '41',
      },
      {
        limit: 60,
        remaining: 50,
        reset: { kind: 'delay', afterMs: 41_000, resolutionMs: 1000, isPlainNumber: true },
      },
    ],
    [
      'a policy of another limit than the count beside it',
      { 'ratelimit-policy': '5000;w=3600', 'ratelimit-limit': '30', 'ratelimit-remaining': '7' },
      { limit: 30, remaining: 7 },
    ],
    [
      'a field with a prefix whose value is none',
      { 'x-ratelimit': '60', 'x-ratelimit-remaining': '7', 'x-ratelimit-policy': 'gold' },
      { name: 'gold', limit: 60, remaining: 7 },
    ],
    [
      'a name without a role whose value has none either',
      { 'x-ratelimit-type': 'low', 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '7' },
      { limit: 60, remaining: 7 },
    ],
    [
      'a structured field with several policies',
      {
        ratelimit: '"minute";r=5;t=30, "day";r=2;t=900',
        'ratelimit-policy': '"minute";q=10;w=60, "day";q=100;w=86400',
      },
      {
        name: 'day',
        limit: 100,
        remaining: 2,
        reset: { kind: 'delay', afterMs: 900_000, resolutionMs: 1000 },
        periodMs: 86_400_000,
      },
    ],
    [
      'draft 07',
      { ratelimit: 'limit=100, remaining=50, reset=30' },
      { limit: 100, remaining: 50, reset: { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 } },
    ],
    [
      'a budget of bytes, which does not count operations',
      { ratelimit: '"bytes";r=1', 'ratelimit-policy': '"bytes";q=1000;qu="content-bytes"' },
      {},
    ],
    [
      'only a policy',
      { 'ratelimit-policy': '"default";q=100;w=60' },
      { limit: 100, periodMs: 60_000 },
    ],
    [
      'Retry-After beside an invalid reset',
      { 'retry-after': '30', 'x-ratelimit-reset': 'soon' },
      {
        retryAfter: { kind: 'delay', afterMs: 30_000, resolutionMs: 1000 },
        doubtful: ['x-ratelimit-reset'],
      },
    ],
  ])('are read: %s', (_what, headers, reading) => {
    expect(readRateLimit(headers)).toEqual(reading);
  });

  test.each(['-1', '1.', '1e3', '', ' 1', '0x1', 'NaN', '1,000', '99999999999999', '９'])(
    'are doubtful with a remaining count of %j',
    (text) => {
      const reading = readRateLimit({ 'x-ratelimit-remaining': text });
      expect(reading).toEqual({ doubtful: ['x-ratelimit-remaining'] });
    },
  );

  test('never throw or give implausible numbers, whatever the bytes', () => {
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

  test('of a hostile length are rejected', () => {
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
  ])('Age %j is read as %s', (age, seconds) => {
    expect(readAge({ age })).toBe(seconds);
  });
});
