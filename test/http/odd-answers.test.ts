import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { exchangeRaw, startRawServer } from '../support/raw-socket.ts';
import { setUpGateway } from './setup.ts';

const GET = 'GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** Starts a gateway to an API that answers each request with these bytes, some at a time. */
async function setUpBytes(...pieces: string[]) {
  const api = await startRawServer((raw) => {
    raw.socket.on('data', (text: unknown) => {
      if (!String(text).includes('\r\n\r\n')) return;
      let delayMs = 0;
      for (const piece of pieces) {
        setTimeout(() => raw.write(piece), delayMs);
        delayMs += 20;
      }
    });
  });
  onTestFinished(() => api.close());
  const gateway = await setUpGateway(api.url, { HEADGATE_RETRIES: '0' });
  return { api, gateway };
}

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const HELLO = 'Content-Length: 5\r\n\r\nhello';

describe('an answer that every client takes passes, with', () => {
  test.each([
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    ],
    ['the same length twice', `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${HELLO}`],
    ['the same length in a list', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello'],
    ['an unrequested 100 Continue', `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n${HELLO}`],
    ['bare line feeds', 'HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello'],
    ['mixed line ends', 'HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 5\r\n\nhello'],
    ['a folded field', `HTTP/1.1 200 OK\r\nX-A: b\r\n\t c\r\n${HELLO}`],
    ['a space before a colon', `HTTP/1.1 200 OK\r\nX-A : b\r\n${HELLO}`],
    ['a control character', `HTTP/1.1 200 OK\r\nX-A: b\x01c\r\n${HELLO}`],
    ['the coding identity', `HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n${HELLO}`],
    ['no reason phrase', `HTTP/1.1 200\r\n${HELLO}`],
    ['padded sizes of chunks', `${CHUNKED}5   \r\nhello\r\n0     \r\n\r\n`],
    ['a space before an extension of a chunk', `${CHUNKED}5 ;a="b"\r\nhello\r\n0\r\n\r\n`],
    ['bare line feeds between chunks', `${CHUNKED}5\nhello\n0\nX-A: b\n\n`],
    [
      'bare line feeds in head and chunks',
      `${CHUNKED}5\r\nhello\r\n0\r\n\r\n`.replaceAll('\r', ''),
    ],
  ])('%s', async (_name, bytes) => {
    const { gateway } = await setUpBytes(bytes);
    const { status, text, early } = await ask(`${gateway.url}/a`);
    expect({ status, text, early }).toEqual({ status: 200, text: 'hello', early: [] });
  });

  test('a head that arrives byte by byte', async () => {
    const { gateway } = await setUpBytes(
      'HTTP/1.1 100 Continue\r\n',
      '\r\nHTTP/1.1 200 OK\nContent-Le',
      'ngth: 5\n',
      '\n',
      'hello',
    );
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200, text: 'hello' });
  });

  test('a reason phrase of its own', async () => {
    const { gateway } = await setUpBytes(`HTTP/1.1 422 Quota of r\xe8gles\r\n${HELLO}`);
    expect(await exchangeRaw(gateway.url, GET)).toMatch(/^HTTP\/1\.1 422 Unprocessable Entity\r\n/);
    const utf8 = await setUpBytes(`HTTP/1.1 422 Quota of r\xc3\xa8gles\r\n${HELLO}`);
    expect(await exchangeRaw(utf8.gateway.url, GET)).toMatch(
      /^HTTP\/1\.1 422 Quota of r\xc3\xa8gles\r\n/,
    );
  });
});

test('an answer with padded chunks leaves its connection usable', async () => {
  const { api, gateway } = await setUpBytes(CHUNKED, '5 ', ' \r\nhello\r\n', '0  \r\n', '\r\n');
  for (let i = 0; i < 2; i++) expect((await ask(`${gateway.url}/a`)).text).toBe('hello');
  expect(api.connections.length).toBe(1);
});

test('the connection of an answer with a length and chunks is not used again', async () => {
  const { api, gateway } = await setUpBytes(
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  );
  for (let i = 0; i < 2; i++) expect((await ask(`${gateway.url}/a`)).text).toBe('hi');
  expect(api.connections.length).toBe(2);
});

test('a body is never taken for a head', async () => {
  const body = 'HTTP/1.1 200 OK\nContent-Length: 1\n\n'.padEnd(100, 'x');
  const { gateway } = await setUpBytes(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n`, body);
  for (let i = 0; i < 2; i++) expect((await ask(`${gateway.url}/a`)).text).toBe(body);
});

describe('an answer is replaced by a 502, with', () => {
  test.each([
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
    ['a space in a name', `HTTP/1.1 200 OK\r\nX A: b\r\n${HELLO}`],
    ['an unrequested upgrade', 'HTTP/1.1 101 X\r\nUpgrade: b\r\nConnection: Upgrade\r\n\r\n'],
    ['no status line', `200 OK\r\n${HELLO}`],
    ['bytes of another protocol, and the connection stays open', '\x15\x03\x01\x00\x02\x02\x2a'],
    ['a space within the size of a chunk', `${CHUNKED}0 5\r\nhello\r\n0\r\n\r\n`],
  ])('%s', async (_name, bytes) => {
    const { gateway } = await setUpBytes(bytes);
    const { status, headers } = await ask(`${gateway.url}/a`);
    expect([status, headers['content-type']]).toEqual([502, 'application/problem+json']);
  });
});

test('an answer with more than 64 KiB of headers is a 502 that says so', async () => {
  const { gateway } = await setUpBytes(`HTTP/1.1 200 OK\r\nX-A: ${'b'.repeat(70_000)}\r\n${HELLO}`);
  const { status, text } = await ask(`${gateway.url}/a`);
  expect(status).toBe(502);
  expect(JSON.parse(text).detail).toBe(
    "the API's answer has more than 64 KiB of headers; it may have executed the request",
  );
});
