import { execFileSync } from 'node:child_process';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  makeHttpDateReader,
  readHttpDate,
  readIsoTimestamp,
} from '../../src/rate-headers/timestamps.ts';

const MOMENT = Date.UTC(2017, 10, 2, 12, 31, 28);

describe('an ISO timestamp', () => {
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
  ])('%s is read, and is UTC without a zone', (text, ms) => {
    expect(readIsoTimestamp(text)).toBeCloseTo(ms, 5);
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
  ])('is undefined for %j', (text) => {
    expect(readIsoTimestamp(text)).toBeUndefined();
  });

  test('is read back as it was written, for every millisecond from 1970 to 2286', () => {
    const moments = fc.integer({ min: 0, max: 9_999_999_999_999 });
    fc.assert(
      fc.property(moments, (ms) => {
        const iso = new Date(ms).toISOString();
        expect(readIsoTimestamp(iso)).toBe(ms);
        expect(readIsoTimestamp(iso.slice(0, -1))).toBe(ms);
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
  ])('%s is read as the example of RFC 9110', (text) => {
    expect(readHttpDate(text)).toBe(Date.UTC(1994, 10, 6, 8, 49, 37));
  });

  test('has the weekday of the day that a leap second ends', () => {
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
  ])('is undefined for %j', (text) => {
    expect(readHttpDate(text)).toBeUndefined();
  });

  test('is read back as it was written, for every second from 1970 to 2286', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9_999_999_999 }), (seconds) => {
        expect(readHttpDate(new Date(seconds * 1000).toUTCString())).toBe(seconds * 1000);
      }),
    );
  });

  test('is read the same by a reader that caches, whatever it read before', () => {
    const read = makeHttpDateReader();
    const values = ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sun, 06 Nov 1994 08:49:38 GMT', '', 'soon'];
    for (const value of [...values, ...values, ...values.toReversed()]) {
      expect(read(value)).toBe(readHttpDate(value));
    }
  });
});

describe('a date', () => {
  test('exists if the Gregorian calendar has it and it is not before 1970', () => {
    const part = fc.integer({ min: -1, max: 70 });
    const years = fc.integer({ min: 1960, max: 2400 });
    const twoDigits = (value: number): string => String(value).padStart(2, '0');
    fc.assert(
      fc.property(years, part, part, (year, month, day) => {
        const ms = Date.UTC(year, month - 1, day);
        const date = new Date(ms);
        const isReal =
          year >= 1970 &&
          date.getUTCFullYear() === year &&
          date.getUTCMonth() === month - 1 &&
          date.getUTCDate() === day;
        const text = `${year}-${twoDigits(month)}-${twoDigits(day)}T00:00:00`;
        expect(readIsoTimestamp(text)).toBe(isReal ? ms : undefined);
      }),
      { numRuns: 1000 },
    );
  });
});

test('timestamps are read the same in every zone of the host', () => {
  const script = `
    const { readReset } = await import('./src/rate-headers/reset-value.ts');
    const { readHttpDate } = await import('./src/rate-headers/timestamps.ts');
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
