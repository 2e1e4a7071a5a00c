import { describe, expect, test } from 'vitest';
import type { RateHeaderRule } from '../../src/rate-headers/declared-headers.ts';
import { makeRateHeaderReader, type HeaderRecord } from '../../src/rate-headers/rate-headers.ts';

function read(rules: readonly RateHeaderRule[], headers: HeaderRecord): unknown {
  return makeRateHeaderReader(rules)(headers);
}

const TOKENS = {
  'x-ratelimit-limit-tokens': '1000',
  'x-ratelimit-remaining-tokens': '400',
  'x-ratelimit-limit': '10',
  'x-ratelimit-remaining': '9',
};
const IN_FIVE_SECONDS = { kind: 'delay', afterMs: 5000, resolutionMs: 1000 };

describe('a declared header', () => {
  test('joins the headers whose names state its bucket', () => {
    const rules: RateHeaderRule[] = [
      { header: 'x-token-wait', role: 'reset', bucket: 'tokens', unit: 'seconds' },
    ];
    expect(read(rules, { 'x-token-wait': '5', ...TOKENS })).toEqual({
      budgets: [
        { name: 'tokens', limit: 1000, remaining: 400, reset: IN_FIVE_SECONDS },
        { limit: 10, remaining: 9 },
      ],
    });
  });

  test('without a bucket concerns the one without a name', () => {
    const rules: RateHeaderRule[] = [{ header: 'x-wait', role: 'reset', unit: 'seconds' }];
    expect(read(rules, { ...TOKENS, 'x-wait': '5' })).toEqual({
      budgets: [
        { name: 'tokens', limit: 1000, remaining: 400 },
        { limit: 10, remaining: 9, reset: IN_FIVE_SECONDS },
      ],
    });
  });

  test('of another bucket than its name states is apart from the rest of its family', () => {
    const rules: RateHeaderRule[] = [
      { header: 'x-ratelimit-remaining', role: 'remaining', bucket: 'month' },
    ];
    expect(read(rules, TOKENS)).toEqual({
      budgets: [
        { name: 'tokens', limit: 1000, remaining: 400 },
        { name: 'month', remaining: 9 },
      ],
    });
  });

  test('names the bucket of the headers that it joins', () => {
    const rules: RateHeaderRule[] = [{ header: 'x-plan', role: 'bucket-name' }];
    const headers = { 'x-plan': 'gold', 'x-ratelimit-remaining': '9' };
    expect(read(rules, headers)).toEqual({ budgets: [{ name: 'gold', remaining: 9 }] });
  });

  test('has a limit and a period of its own only where the answer reports none', () => {
    const rules: RateHeaderRule[] = [
      { header: 'x-left', role: 'remaining', limit: 100, periodMs: 60_000 },
    ];
    expect(read(rules, { 'x-left': '7' })).toEqual({
      budgets: [{ limit: 100, remaining: 7, periodMs: 60_000 }],
    });
    expect(read(rules, { 'x-left': '7', 'x-ratelimit-limit': '50;w=10' })).toEqual({
      budgets: [{ limit: 50, remaining: 7, periodMs: 10_000 }],
    });
  });

  test.each<[RateHeaderRule['unit'], string, object]>([
    ['seconds', '90', { kind: 'delay', afterMs: 90_000, resolutionMs: 1000 }],
    ['seconds', '1.5', { kind: 'delay', afterMs: 1500, resolutionMs: 100 }],
    ['milliseconds', '1500', { kind: 'delay', afterMs: 1500, resolutionMs: 1 }],
    ['minutes', '2', { kind: 'delay', afterMs: 120_000, resolutionMs: 60_000 }],
    ['epoch-seconds', '1795860030', { kind: 'instant', atMs: 1795860030e3, resolutionMs: 1000 }],
    [
      'epoch-milliseconds',
      '1795860030500',
      { kind: 'instant', atMs: 1795860030500, resolutionMs: 0 },
    ],
    ['milliseconds', '6m0s', { kind: 'delay', afterMs: 360_000, resolutionMs: 1000 }],
  ])('in %s reads %s', (unit = 'seconds', value, reset) => {
    const rules: RateHeaderRule[] = [{ header: 'x-back', role: 'reset', unit }];
    expect(read(rules, { 'x-back': value })).toEqual({ budgets: [{ reset }] });
  });

  test('is doubtful if its value does not fit its unit', () => {
    const rules: RateHeaderRule[] = [{ header: 'x-back', role: 'reset', unit: 'epoch-seconds' }];
    expect(read(rules, { 'x-back': '30' })).toEqual({ budgets: [], doubtful: ['x-back'] });
  });

  test('is read again when the next answer has other headers', () => {
    const reader = makeRateHeaderReader([{ header: 'x-left', role: 'remaining' }]);
    expect(reader({ 'x-left': '7' })).toEqual({ budgets: [{ remaining: 7 }] });
    expect(reader({ date: 'now' })).toEqual({ budgets: [] });
    expect(reader({ date: 'now', 'x-left': '6' })).toEqual({ budgets: [{ remaining: 6 }] });
  });

  test('may replace a standard field, or silence it', () => {
    const headers = { ratelimit: '9', 'retry-after': '1' };
    const rules: RateHeaderRule[] = [
      { header: 'ratelimit', role: 'remaining' },
      { header: 'retry-after', role: 'ignore' },
    ];
    expect(read(rules, headers)).toEqual({ budgets: [{ remaining: 9 }] });
  });
});
