import { describe, expect, test } from 'vitest';
import { durationText, parseDuration, parseSecondsOrDuration } from '../../src/util/duration.ts';

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
  ])('is undefined for %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test.each([
    ['30', 30_000],
    ['2.5', 2500],
    ['45s', 45_000],
  ])('or a plain number of seconds is read: %s is %d ms', (text, ms) => {
    expect(parseSecondsOrDuration(text)).toBe(ms);
  });

  test.each(['0', '250ms', '1.5ms', '45s', '1m', '1m30s', '1h', '1d', '1d2h3m4s5ms', '36500d'])(
    'is written as it is read: %s',
    (text) => {
      expect(durationText(parseDuration(text) ?? Number.NaN)).toBe(text);
    },
  );

  test.each([
    ['60s', '1m'],
    ['24h', '1d'],
    ['1.5s', '1s500ms'],
  ])('is written in the largest units: %s as %s', (text, written) => {
    expect(durationText(parseDuration(text) ?? Number.NaN)).toBe(written);
  });
});
