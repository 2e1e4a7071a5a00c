import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readReset, readRetryAfter } from '../../src/rate-headers/reset-value.ts';

const MOMENT = Date.UTC(2017, 10, 2, 12, 31, 28);

describe('the value of a reset header', () => {
  const instant = (atMs: number, resolutionMs: number): object => ({
    kind: 'instant',
    atMs,
    resolutionMs,
  });
  const delay = (afterMs: number, resolutionMs: number): object => ({
    kind: 'delay',
    afterMs,
    resolutionMs,
  });

  const plain = (afterMs: number, resolutionMs: number): object => ({
    ...delay(afterMs, resolutionMs),
    isPlainNumber: true,
  });

  test.each([
    ['0', plain(0, 1000)],
    // Date.parse reads it as the year 2001.
    ['5', plain(5000, 1000)],
    ['60', plain(60_000, 1000)],
    ['2.5', plain(2500, 100)],
    ['31536000', plain(31_536_000_000, 1000)],
    ['1509625888', instant(MOMENT, 1000)],
    ['1509625888.675', instant(MOMENT + 675, 0)],
    ['1509625888675', instant(MOMENT + 675, 0)],
    ['6m0s', delay(360_000, 1000)],
    ['12ms', delay(12, 1)],
    ['1.5s', delay(1500, 100)],
    ['2017-11-02T12:31:28', instant(MOMENT, 1000)],
    ['2017-11-02T12:31Z', instant(MOMENT - 28_000, 60_000)],
    ['2017-11-02 12:31', instant(MOMENT - 28_000, 60_000)],
    ['Thu Nov 02 2017 13:31:28 GMT+0100 (Central European Time)', instant(MOMENT, 1000)],
    ['Thu Nov 02 2017 12:31:28 GMT+0000', instant(MOMENT, 1000)],
    ['2017-11-02T12:31:28.5', instant(MOMENT + 500, 0)],
    ['Thu, 02 Nov 2017 12:31:28 GMT', instant(MOMENT, 1000)],
  ])('%s is read by its form and magnitude', (text, reset) => {
    expect(readReset(text)).toEqual(reset);
  });

  test.each([
    '',
    '-1',
    '+5',
    '1e3',
    '0x10',
    ' 5',
    '5 ',
    'NaN',
    'Infinity',
    'never',
    // No API means a number between a year in seconds and the plausible instants.
    '40000000',
    '999999999',
    '10000000000000',
    '99999999999999999999',
    '1970-01-01T00:00:00',
    '9'.repeat(65),
    'Fri, 02 Nov 2017 12:31:28 GMT',
  ])('is undefined for %j', (text) => {
    expect(readReset(text)).toBeUndefined();
  });

  test.each([
    ['120', delay(120_000, 1000)],
    ['0', delay(0, 1000)],
    ['1.5', delay(1500, 100)],
    ['Thu, 02 Nov 2017 12:31:28 GMT', instant(MOMENT, 1000)],
    ['2017-11-02T12:31:28Z', instant(MOMENT, 1000)],
  ])('is seconds or a date in Retry-After: %s', (text, reset) => {
    expect(readRetryAfter(text)).toEqual(reset);
  });

  test.each(['1509625888', '2017-11-02T25:31:28', '5s', '-5', ''])(
    'is undefined in Retry-After: %j',
    (text) => {
      expect(readRetryAfter(text)).toBeUndefined();
    },
  );

  test('never throws or gives an implausible time, whatever the text', () => {
    const digits = fc.stringMatching(/^[-+0-9.eE:TZ smhd]{0,40}$/);
    fc.assert(
      fc.property(fc.oneof(fc.string(), digits), (text) => {
        for (const reset of [readReset(text), readRetryAfter(text)]) {
          const ms = reset === undefined ? 0 : reset.kind === 'delay' ? reset.afterMs : reset.atMs;
          expect(Number.isFinite(ms) && ms >= 0 && ms < 1e13).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
