import { expect, test } from 'vitest';
import { defaultMaxConnections, openFilesLimit } from '../../src/app/open-files.ts';

const limits = (soft: string): string =>
  [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max processes             31187                31187                processes ',
    `Max open files            ${soft.padEnd(21)}524288               files     `,
  ].join('\n');

test('the soft limit of open files is read', () => {
  expect(openFilesLimit(() => limits('20000'))).toBe(20_000);
  expect(openFilesLimit(() => limits('unlimited'))).toBe(Infinity);
});

test('1024 files are assumed where the host states no limit', () => {
  expect(openFilesLimit(() => 'Max processes 1')).toBe(1024);
  expect(
    openFilesLimit(() => {
      throw new Error('there is no /proc');
    }),
  ).toBe(1024);
});

test.each([
  ['what Headgate needs itself is left free', 4000, 128, 3424],
  ['a quarter is left where the limit is small', 512, 128, 128],
  ['at least one is left', 1, 128, 1],
  ['the default has a bound of its own', Infinity, 128, 4000],
])('%s', (_name, filesLimit, upstreamConnections, expected) => {
  expect(defaultMaxConnections(filesLimit, upstreamConnections)).toBe(expected);
});
