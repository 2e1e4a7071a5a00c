import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChunkedBody } from '../../src/http/chunked-body.ts';

/** Repairs a body that arrives in these pieces. */
function repair(...pieces: readonly string[]): string {
  const body = new ChunkedBody();
  return pieces
    .map((piece) => {
      const bytes = Buffer.from(piece, 'latin1');
      return Buffer.concat(body.repair(bytes) ?? [bytes]).toString('latin1');
    })
    .join('');
}

test.each([
  ['5\r\nhello\r\n0\r\n\r\n'],
  ['A;a="b c";d\r\n0123456789\r\n0;e\r\nX-A: b c\r\nX-B:\r\n\r\n'],
  ['0003\r\n\n \n\r\n0\r\n\r\n'],
])('a body without faults stays the same: %j', (plain) => {
  expect(new ChunkedBody().repair(Buffer.from(plain, 'latin1'))).toBeUndefined();
});

test.each([
  ['5 \t\r\nhello\r\n0  \r\n\r\n', '5\r\nhello\r\n0\r\n\r\n'],
  ['5 ;a\r\nhello\r\n0\r\n\r\n', '5;a\r\nhello\r\n0\r\n\r\n'],
  ['5\nhello\n0\nX-A: b\n\n', '5\r\nhello\r\n0\r\nX-A: b\r\n\r\n'],
  ['5 \n\n \r a\r\n0\r\n\r\n', '5\r\n\n \r a\r\n0\r\n\r\n'],
])('%j becomes %j, whole and byte by byte', (faulty, repaired) => {
  expect(repair(faulty)).toBe(repaired);
  expect(repair(...faulty.split(''))).toBe(repaired);
});

test.each([
  ['0 5\r\nhello\r\n0\r\n\r\n'],
  [' 5\r\nhello\r\n0\r\n\r\n'],
  ['5x\r\nhello\r\n0\r\n\r\n'],
  ['5\r\nhello0\n\n'],
  ['\n5\nhello\n0\n\n'],
  ['99999999999999 \r\nhello'],
])('what is wrong is left to the parser: %j', (wrong) => {
  expect(repair(wrong)).toBe(wrong);
  expect(repair(...wrong.split(''))).toBe(wrong);
});

test('the bytes of a body do not matter, nor where they are cut', () => {
  const data = fc.array(
    fc.string({ unit: fc.constantFrom('\r', '\n', ' ', 'a', '0'), minLength: 1 }),
  );
  fc.assert(
    fc.property(
      data,
      fc.constantFrom('', ' ', '\t '),
      fc.constantFrom('\r\n', '\n'),
      fc.nat(9),
      (chunks, blank, end, cut) => {
        const framed = (pad: string, eol: string): string =>
          [
            ...chunks.map((chunk) => `${chunk.length.toString(16)}${pad}${eol}${chunk}${eol}`),
            `0${pad}${eol}${eol}`,
          ].join('');
        const sent = framed(blank, end);
        const parts = sent.match(new RegExp(`[^]{1,${cut + 1}}`, 'g')) ?? [];
        expect(repair(...parts)).toBe(framed('', '\r\n'));
      },
    ),
  );
});
