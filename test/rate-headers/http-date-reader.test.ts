import { expect, test } from 'vitest';
import { makeHttpDateReader, readHttpDate } from '../../src/rate-headers/http-date.ts';

test('a reader that remembers reads the same, whatever came before', () => {
  const read = makeHttpDateReader();
  const values = ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sun, 06 Nov 1994 08:49:38 GMT', '', 'soon'];
  for (const value of [...values, ...values, ...values.toReversed()]) {
    expect(read(value)).toBe(readHttpDate(value));
  }
});
