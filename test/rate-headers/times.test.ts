import { execFileSync } from 'node:child_process';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utcMs } from '../../src/rate-headers/calendar.ts';
import { parseDuration, parseSecondsOrDuration } from '../../src/util/duration.ts';
import { readHttpDate } from '../../src/rate-headers/http-date.ts';
import { readIsoStamp } from '../../src/rate-headers/iso-stamp.ts';
import { readReset, readRetryAfter } from '../../src/rate-headers/reset-value.ts';

const MOMENT = Date.UTC(2017, 10, 2, 12, 31, 28);

describe('a duration', () => {
  test.each([
    ['0', 0],
    ['250ms', 250],
    ['45s', 45_000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['1m30s', 90_000],
    ['6m0s', 360_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['7.66s', 7660],
    ['1.1s', 1100],
    ['0.5ms', 0.5],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    '5',
    '00',
    '-1s',
    '+1s',
    '1 s',
    ' 1s',
    '1S',
    '1w',
    '1us',
    's',
    '1s1m',
    '1m1m',
    '1.5m30s',
    '1..5s',
    '.5s',
    '1e3s',
    '0x10s',
    '1s\n',
    '１s',
    '200y',
    '40000d',
    `${'1'.repeat(400)}s`,
    'Infinitys',
  ])('is not %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test.each([
    ['30', 30_000],
    ['2.5', 2500],
    ['45s', 45_000],
  ])('may be plain seconds where that is documented: %s is %d ms', (text, ms) => {
    expect(parseSecondsOrDuration(text)).toBe(ms);
  });
});

describe('an ISO stamp', () => {
  test.each([
    ['2017-11-02T12:31:28', MOMENT],
    ['2017-11-02 12:31:28', MOMENT],
    ['2017-11-02T12:31:28Z', MOMENT],
    ['2017-11-02t12:31:28z', MOMENT],
    ['2017-11-02T12:31:28.675446', MOMENT + 675.446],
    ['2017-11-02T12:31:28.675446Z', MOMENT + 675.446],
    ['2017-11-02T12:31:28.5', MOMENT + 500],
    ['2017-11-02T12:31:28.123456789Z', MOMENT + 123.456789],
    ['2017-11-02T09:31:28-03:00', MOMENT],
    ['2017-11-02T18:01:28+0530', MOMENT],
    ['2017-11-03T02:31:28+14', MOMENT],
    ['2019-04-01 13:53:28.536782+00:00', Date.UTC(2019, 3, 1, 13, 53, 28) + 536.782],
    ['2016-02-29T00:00:00', Date.UTC(2016, 1, 29)],
    ['2016-12-31T23:59:60Z', Date.UTC(2017, 0, 1)],
  ])('%s is that moment, and UTC without a zone', (text, ms) => {
    expect(readIsoStamp(text)).toBeCloseTo(ms, 5);
  });

  test.each([
    '',
    '5',
    '2017',
    '2017-11-02',
    '2017-11-02T12:31',
    '2017-11-02T24:00:00',
    '2017-11-02T12:60:00',
    '2017-11-02T12:31:60',
    '2017-11-02T12:31:61',
    '2017-02-29T00:00:00',
    '2017-04-31T00:00:00',
    '2017-13-01T00:00:00',
    '2017-00-01T00:00:00',
    '2017-01-00T00:00:00',
    '1969-12-31T23:59:59',
    '2017-11-02T12:31:28.',
    '2017-11-02T12:31:28.1234567890',
    '2017-11-02T12:31:28,5',
    '2017-11-02T12:31:28+15:00',
    '2017-11-02T12:31:28+01:60',
    '2017-11-02T12:31:28 +01:00',
    '2017-11-02T12:31:28UTC',
    '2017-11-02T12:31:28Z ',
    '2017-11-02x12:31:28',
    '2017/11/02T12:31:28',
    '12017-11-02T12:31:28',
    '2017-11-02T1a:31:28',
    '2017-11-02T-1:31:28',
  ])('is not %j', (text) => {
    expect(readIsoStamp(text)).toBeUndefined();
  });

  test('round trips for every moment from 1970 to 2285', () => {
    const moments = fc.integer({ min: 0, max: 9_999_999_999_999 });
    fc.assert(
      fc.property(moments, (ms) => {
        const iso = new Date(ms).toISOString();
        expect(readIsoStamp(iso)).toBe(ms);
        expect(readIsoStamp(iso.slice(0, -1))).toBe(ms);
      }),
    );
  });
});

describe('an HTTP-date', () => {
  test.each([
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
  ])('%s is the RFC’s example', (text) => {
    expect(readHttpDate(text)).toBe(Date.UTC(1994, 10, 6, 8, 49, 37));
  });

  test('may name a leap second by the day that it ends', () => {
    expect(readHttpDate('Sat, 31 Dec 2016 23:59:60 GMT')).toBe(Date.UTC(2017, 0, 1));
  });

  test.each([
    '',
    '5',
    '0',
    '-1',
    'Mon, 06 Nov 1994 08:49:37 GMT',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 EST',
    'Sun, 06 Nov 1994 8:49:37 GMT',
    'Sun, 06 nov 1994 08:49:37 GMT',
    'Thu, 30 Feb 2017 00:00:00 GMT',
    'Wed, 31 Dec 1969 23:59:59 GMT',
    'Sun, 06 Nov 1994 24:49:37 GMT',
    '2017-11-02T12:31:28Z',
  ])('is not %j', (text) => {
    expect(readHttpDate(text)).toBeUndefined();
  });

  test('round trips for every second from 1970 to 2285', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9_999_999_999 }), (seconds) => {
        expect(readHttpDate(new Date(seconds * 1000).toUTCString())).toBe(seconds * 1000);
      }),
    );
  });
});

describe('a calendar', () => {
  test('has the days that the Gregorian one has', () => {
    const part = fc.integer({ min: -1, max: 70 });
    const years = fc.integer({ min: 1960, max: 2400 });
    fc.assert(
      fc.property(years, part, part, (year, month, day) => {
        const ms = Date.UTC(year, month - 1, day);
        const date = new Date(ms);
        const exists =
          year >= 1970 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
        const real = exists && date.getUTCFullYear() === year;
        expect(utcMs({ year, month, day, hour: 0, minute: 0, second: 0 })).toBe(
          real ? ms : undefined,
        );
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the value of a reset', () => {
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

  test.each([
    ['0', delay(0, 1000)],
    // Date.parse takes it for the year 2001.
    ['5', delay(5000, 1000)],
    ['60', delay(60_000, 1000)],
    ['2.5', delay(2500, 100)],
    ['31536000', delay(31_536_000_000, 1000)],
    ['1509625888', instant(MOMENT, 1000)],
    ['1509625888.675', instant(MOMENT + 675, 0)],
    ['1509625888675', instant(MOMENT + 675, 0)],
    ['6m0s', delay(360_000, 1000)],
    ['12ms', delay(12, 1)],
    ['1.5s', delay(1500, 100)],
    ['2017-11-02T12:31:28', instant(MOMENT, 1000)],
    ['2017-11-02T12:31:28.5', instant(MOMENT + 500, 0)],
    ['Thu, 02 Nov 2017 12:31:28 GMT', instant(MOMENT, 1000)],
  ])('%s is read by its shape and magnitude', (text, reset) => {
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
    // Between a year and an epoch lies no number that an API means.
    '40000000',
    '999999999',
    '10000000000000',
    '99999999999999999999',
    '1970-01-01T00:00:00',
    '9'.repeat(65),
    'Fri, 02 Nov 2017 12:31:28 GMT',
  ])('is not %j', (text) => {
    expect(readReset(text)).toBeUndefined();
  });

  test.each([
    ['120', delay(120_000, 1000)],
    ['0', delay(0, 1000)],
    ['1.5', delay(1500, 100)],
    ['Thu, 02 Nov 2017 12:31:28 GMT', instant(MOMENT, 1000)],
  ])('of Retry-After %s is seconds or a date', (text, reset) => {
    expect(readRetryAfter(text)).toEqual(reset);
  });

  test.each(['1509625888', '2017-11-02T12:31:28', '5s', '-5', ''])(
    'of Retry-After is not %j',
    (text) => {
      expect(readRetryAfter(text)).toBeUndefined();
    },
  );

  test('never throws, and never gives a time out of all reason', () => {
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

test('no host’s zone changes what a stamp means', () => {
  const script = `
    const { readReset } = await import('./src/rate-headers/reset-value.ts');
    const { readHttpDate } = await import('./src/rate-headers/http-date.ts');
    console.log(JSON.stringify([
      new Date(2017, 10, 2).getTimezoneOffset(),
      readReset('2017-11-02T12:31:28').atMs,
      readReset('2017-11-02 12:31:28').atMs,
      readHttpDate('Thu Nov  2 12:31:28 2017'),
    ]));`;
  const zones = ['Pacific/Kiritimati', 'America/St_Johns'];
  const read = zones.map((TZ): unknown => {
    const args = ['--input-type=module', '--eval', script];
    const root = new URL('../../', import.meta.url);
    return JSON.parse(
      execFileSync(process.execPath, args, { cwd: root, env: { TZ }, encoding: 'utf8' }),
    );
  });
  expect(read).toEqual([
    [-840, MOMENT, MOMENT, MOMENT],
    [150, MOMENT, MOMENT, MOMENT],
  ]);
});
