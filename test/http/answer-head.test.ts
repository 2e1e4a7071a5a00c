import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { plainHeadOf, repairHead } from '../../src/http/answer-head.ts';

const head = (...lines: string[]): string => `${lines.join('\r\n')}\r\n\r\n`;

test.each([
  head('HTTP/1.1 200 OK'),
  head('HTTP/1.1 200 OK', 'Content-Length: 5', 'X-A:b', 'X-Empty:', 'X-B: \xe9'),
  head('HTTP/1.1 999', 'transfer-encoding: Chunked'),
  head('HTTP/1.1 304 Not Modified', 'ETag: "content-length: 5"'),
])('a head without faults stays the same: %j', (plain) => {
  expect(repairHead(plain)).toBe(plain);
  const expected = plain.includes('hunked') ? 'chunked' : 'not chunked';
  expect(plainHeadOf(Buffer.from(`${plain}body\n\n`, 'latin1'))).toBe(expected);
});

test.each([
  ['HTTP/1.1 200 OK\nContent-Length: 5\n\n', head('HTTP/1.1 200 OK', 'Content-Length: 5')],
  [
    head('HTTP/1.1 200 OK', 'Content-Length: 7', 'Transfer-Encoding: chunked'),
    head('HTTP/1.1 200 OK', 'Connection: close', 'Transfer-Encoding: chunked'),
  ],
  [
    head('HTTP/1.1 200 OK', 'Content-Length: 7', 'A: b', 'content-length: 7, 7'),
    head('HTTP/1.1 200 OK', 'Content-Length: 7', 'A: b'),
  ],
  [head('HTTP/1.1 200 OK', 'A: b', '\t c', 'D : e'), head('HTTP/1.1 200 OK', 'A: b c', 'D: e')],
  [head('HTTP/1.1 200 O\x01K', 'A: b\rc\x7f'), head('HTTP/1.1 200 O K', 'A: b c ')],
])('%j becomes %j', (faulty, repaired) => {
  expect(repairHead(faulty)).toBe(repaired);
});

test.each([
  head('HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Length: 6'),
  head('HTTP/1.1 200 OK', 'No colon'),
  head('HTTP/1.1 200 OK', 'A: b\0c'),
  head('HTTP/1.1 200 OK', 'No colon', '\t: but behind a fold'),
])('what leaves a doubt is left to the parser: %j', (doubtful) => {
  expect(repairHead(doubtful)).toBe(doubtful);
});

test.each([
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: b\r\n',
  'HTTP/1.1 200 OK\nA: b\n\n',
  'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 5\r\ncontent-length: 5\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n',
  'HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n',
])('is not plain: %j', (bytes) => {
  expect(plainHeadOf(Buffer.from(bytes, 'latin1'))).toBeUndefined();
});

test('a repaired head needs no other repair', () => {
  const parts = fc.constantFrom(
    '\r\n',
    '\n',
    '\r',
    ' ',
    '\t',
    ':',
    'A: b',
    'Content-Length: 5',
    'Content-Length: 5, 5',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: identity',
    '\0',
    '\x80',
  );
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), (fields) => {
      const faulty = `HTTP/1.1 200 OK\r\n${fields.join('')}\r\n\r\n`;
      // A head ends at its first empty line.
      fc.pre(!/\n\s*\n[^]*\n\r\n$/.test(faulty));
      const once = repairHead(faulty);
      const isPlain = plainHeadOf(Buffer.from(faulty, 'latin1')) !== undefined;
      expect(!isPlain || once === faulty).toBe(true);
      expect(repairHead(once)).toBe(once);
    }),
  );
});
