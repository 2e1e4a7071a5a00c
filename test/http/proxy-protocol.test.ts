import { describe, expect, test } from 'vitest';
import { readProxyHeader } from '../../src/http/proxy-protocol.ts';

const read = (text: string) => readProxyHeader(Buffer.from(text, 'latin1'));
const SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';
const V4 = '\xc0\0\x02\x01\x0a\0\0\x01\x12\x34\x01\xbb';
const V6 = `${'\x20\x01\x0d\xb8'.padEnd(15, '\0')}\x01${'\0'.repeat(16)}\x12\x34\x01\xbb`;

describe('the header of the PROXY protocol', () => {
  test.each([
    ['PROXY TCP4 192.0.2.1 10.0.0.1 4660 443\r\n', '192.0.2.1'],
    ['PROXY TCP6 2001:db8::1 ::1 4660 443\r\n', '2001:db8::1'],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN 192.0.2.1 10.0.0.1 4660 443\r\n', undefined],
    [`${SIGNATURE}\x21\x11\0\x0c${V4}`, '192.0.2.1'],
    [`${SIGNATURE}\x21\x11\0\x10${V4}\x04\0\x01x`, '192.0.2.1'],
    [`${SIGNATURE}\x21\x21\0\x24${V6}`, '2001:db8::1'],
    [`${SIGNATURE}\x20\0\0\0`, undefined],
    [`${SIGNATURE}\x20\x11\0\x0c${V4}`, undefined],
  ])('%j names %s', (header, source) => {
    expect(read(`${header}GET / HTTP/1.1\r\n`)).toEqual({
      kind: 'header',
      length: header.length,
      source,
    });
    for (let length = 0; length < header.length; length++) {
      expect(read(header.slice(0, length)).kind).toBe('incomplete');
    }
  });

  test.each(['GET / HTTP/1.1', 'PROXIES', '\r\nGET /', '\x16\x03\x01', 'P '])(
    'is absent in %j',
    (bytes) => {
      expect(read(bytes)).toEqual({ kind: 'none' });
    },
  );

  test.each([
    'PROXY TCP4 192.0.2.1 10.0.0.1\r\n',
    'PROXY TCP4 2001:db8::1 ::1 1 2\r\n',
    'PROXY TCP6 evil ::1 1 2\r\n',
    'PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n',
    `PROXY UNKNOWN ${'x'.repeat(200)}`,
    `${SIGNATURE}\x31\x11\0\x0c${V4}`,
    `${SIGNATURE}\x22\x11\0\x0c${V4}`,
    `${SIGNATURE}\x21\x11\0\x04\xc0\0\x02\x01`,
    `${SIGNATURE}\x21\x11\xff\xff`,
  ])('is bad: %j', (bytes) => {
    expect(read(bytes)).toMatchObject({ kind: 'bad', reason: expect.stringMatching(/./) });
  });
});
