import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parserProblem } from '../../src/gateway/connections/socket-refusals.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { exchangeRaw, openRaw } from '../support/raw-socket.ts';
import { ok, setUpApi } from './setup.ts';

/** The only answer in the bytes received: its status and its problem. Throws if more follows. */
function refusalIn(received: string): { status: number; code: string; title: string } {
  const [head = '', body = '', ...rest] = received.split('\r\n\r\n');
  expect(rest).toEqual([]);
  const problem = JSON.parse(body);
  expect(head).toMatch(/^content-type: application\/problem\+json$/im);
  expect(head).toMatch(/^connection: close$/im);
  expect(head.toLowerCase()).toContain(`headgate-error: ${problem.code}`);
  expect(head).toContain(`HTTP/1.1 ${problem.status} `);
  return problem;
}

const CLOSE = 'Connection: close\r\n\r\n';

describe('bytes that are not a request are refused with a problem and logged once', () => {
  const cases: [string, string, number, string][] = [
    ['a request line that is none', 'hello\r\n\r\n', 400, 'bad-request'],
    ['no protocol', `GET /a\r\nHost: a\r\n${CLOSE}`, 400, 'bad-request'],
    ['another protocol', `GET /a HTTP/2.0\r\nHost: a\r\n${CLOSE}`, 400, 'bad-request'],
    ['an unknown protocol', 'GET / HTTP/9.9\r\nHost: a\r\n\r\n', 400, 'bad-request'],
    [
      'TLS to a cleartext listener',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      400,
      'bad-request',
    ],
    [
      'Content-Length and Transfer-Encoding together',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'bad-request',
    ],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd',
      400,
      'bad-request',
    ],
    [
      'chunked that is not the last coding',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
      400,
      'bad-request',
    ],
    [
      'a space before the colon',
      'GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\n',
      400,
      'bad-request',
    ],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n', 400, 'bad-request'],
    [
      'a bare line feed in the headers',
      'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n',
      400,
      'bad-request',
    ],
    ['a backslash in the target', `GET /a\\b HTTP/1.1\r\nHost: a\r\n${CLOSE}`, 400, 'bad-request'],
    [
      'OPTIONS of the whole server',
      `OPTIONS * HTTP/1.1\r\nHost: a\r\n${CLOSE}`,
      400,
      'bad-request',
    ],
    ['no Host', `GET / HTTP/1.1\r\n${CLOSE}`, 400, 'bad-request'],
    ['two Hosts', `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n${CLOSE}`, 400, 'bad-request'],
    [
      'two credentials',
      `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: token a\r\nauthorization: token b\r\n${CLOSE}`,
      400,
      'bad-request',
    ],
    [
      'a transfer coding in HTTP/1.0',
      'POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
      400,
      'bad-request',
    ],
    [
      'CONNECT',
      'CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n',
      501,
      'method-not-supported',
    ],
    ['TRACE', `TRACE /a HTTP/1.1\r\nHost: a\r\n${CLOSE}`, 501, 'method-not-supported'],
    ['TRACK', `TRACK /a HTTP/1.1\r\nHost: a\r\n${CLOSE}`, 501, 'method-not-supported'],
    ['an unknown method', `BAN /a HTTP/1.1\r\nHost: a\r\n${CLOSE}`, 501, 'method-not-supported'],
    [
      'a method in lower case',
      `get /a HTTP/1.1\r\nHost: a\r\n${CLOSE}`,
      501,
      'method-not-supported',
    ],
    ['a method that is none', `G@T /a HTTP/1.1\r\nHost: a\r\n${CLOSE}`, 400, 'bad-request'],
    [
      'another host',
      `GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n${CLOSE}`,
      403,
      'forbidden-target',
    ],
    [
      'an unknown expectation',
      `GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n${CLOSE}`,
      417,
      'expectation-failed',
    ],
    [
      'a target that is too long',
      `GET /${'a'.repeat(16_384)} HTTP/1.1\r\nHost: a\r\n${CLOSE}`,
      414,
      'target-too-long',
    ],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`,
      431,
      'headers-too-large',
    ],
    [
      'too many headers',
      `GET / HTTP/1.1\r\nHost: a\r\n${'X:\r\n'.repeat(199)}${CLOSE}`,
      431,
      'headers-too-large',
    ],
    [
      'far too many headers, the last of them essential',
      `GET / HTTP/1.1\r\n${'X:\r\n'.repeat(5000)}Host: a\r\n${CLOSE}`,
      431,
      'headers-too-large',
    ],
    [
      'a body that is too large',
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n${CLOSE}`,
      413,
      'body-too-large',
    ],
  ];

  test.each(cases)('%s', async (_name, bytes, status, code) => {
    const { api, gateway } = await setUpApi(ok, { HEADGATE_BODY_MAX: '4KiB' });
    const problem = refusalIn(await exchangeRaw(gateway.url, bytes));
    expect(problem).toMatchObject({ status, code });
    const lines = await gateway.log.wait('call', 1);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ status, code, outcome: 'failed', attempts: 0 });
    expect(api.seen).toEqual([]);
  });
});

describe('a body', () => {
  test('with wrong framing ends its call with a problem and one log line', async () => {
    const { gateway } = await setUpApi(ok);
    const raw = await openRaw(gateway.url);
    raw.write(
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nnot hex\r\n',
    );
    await raw.end();
    expect(refusalIn(raw.received)).toMatchObject({ status: 400, code: 'bad-request' });
    const lines = await gateway.log.wait('call', 1);
    expect(lines).toMatchObject([{ status: 400, code: 'bad-request', method: 'POST', bytesIn: 2 }]);
  });

  test('that grows too large without a declared length is cut off, and incomplete at the API', async () => {
    const { gateway, api } = await setUpApi(ok, {
      HEADGATE_BODY_LIMIT: '1KiB',
      HEADGATE_BODY_MAX: '4KiB',
    });
    const raw = await openRaw(gateway.url);
    raw.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let i = 0; i < 8; i++) raw.write(`400\r\n${'a'.repeat(1024)}\r\n`);
    await raw.until((text) => text.includes('requestId'));
    expect(raw.received).toMatch(/^HTTP\/1\.1 413 /);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 413, code: 'body-too-large', outcome: 'failed' });
    expect(api.seen.length).toBeLessThanOrEqual(1);
    raw.socket.destroy();
  });
});

describe('bytes that are not a request, behind a request', () => {
  test('do not disturb its answer, and are logged on their own', async () => {
    const { gateway } = await setUpApi(ok);
    const received = await exchangeRaw(
      gateway.url,
      'GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n',
    );
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(received.split('HTTP/1.1')).toHaveLength(2);
    expect(received.endsWith('ok')).toBe(true);
    const lines = await gateway.log.wait('call', 2);
    expect(lines.map(({ status, code }) => [status, code])).toEqual(
      expect.arrayContaining([
        [0, 'bad-request'],
        [200, undefined],
      ]),
    );
  });
});

test('a request behind a transfer coding in HTTP/1.0 is not sent, because no framing is certain', async () => {
  const { api, gateway } = await setUpApi(ok);
  const chunked = 'Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  const received = await exchangeRaw(
    gateway.url,
    `POST /one HTTP/1.0\r\n${chunked}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n`,
  );
  expect(refusalIn(received)).toMatchObject({ status: 400, code: 'bad-request' });
  expect(api.seen).toEqual([]);
});

test('a refused CONNECT does no harm if its caller resets it, and is closed if its caller stays', async () => {
  const { gateway } = await setUpApi(ok);
  const resets = await openRaw(gateway.url);
  resets.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n');
  await resets.until((text) => text.includes('requestId'));
  resets.socket.resetAndDestroy();
  const port = Number(new URL(gateway.url).port);
  const stays = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  onTestFinished(() => void stays.destroy());
  stays.write('CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n');
  stays.resume();
  await once(stays, 'end');
  // This side stays open: only a write that fails shows that the gateway has closed it.
  const letGo = new Promise<void>((resolve) => {
    stays.on('error', () => undefined).on('close', () => resolve());
  });
  const writing = setInterval(() => stays.write('more'), 50);
  await letGo;
  clearInterval(writing);
  expect(await gateway.log.wait('call', 2)).toMatchObject([{ status: 501 }, { status: 501 }]);
});

test('incomplete headers are answered with 408, a broken connection is not answered', () => {
  const timeout = Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
  expect(parserProblem(timeout)?.code).toBe('request-timeout');
  expect(parserProblem(Object.assign(new Error('gone'), { code: 'ECONNRESET' }))).toBeUndefined();
});

test('a request that is refused before it is complete can be sent to its end', async () => {
  // On this clock, the time that a refused caller has for its request never ends.
  const { gateway } = await setUpApi(ok, {}, { clock: new FakeClock() });
  const raw = await openRaw(gateway.url);
  raw.write(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(70_000)}`);
  await raw.until((text) => text.includes('requestId'));
  for (let i = 0; i < 50; i++) raw.write('a'.repeat(20_000));
  expect(await raw.end()).toBe('end');
  expect(refusalIn(raw.received)).toMatchObject({ status: 431 });
  expect(await gateway.log.wait('call', 1)).toHaveLength(1);
});

test('raw UTF-8 in a target is refused with a reason', async () => {
  const { api, gateway } = await setUpApi(ok);
  const received = await exchangeRaw(gateway.url, 'GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n');
  expect(received).toMatch(/^HTTP\/1\.1 400 [^]*percent-encoded[^]*HPE_INVALID_URL/);
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ code: 'bad-request', parserError: 'HPE_INVALID_URL' });
  expect(api.seen).toEqual([]);
});

test('the API receives a target byte for byte', async () => {
  const { api, gateway } = await setUpApi(ok);
  const targets = ['/%7Eme/%c3%a9?search=100%&re=a\\d', '/a?', 'http://headgate:8080/x?y'];
  for (const target of targets) {
    await exchangeRaw(gateway.url, `GET ${target} HTTP/1.1\r\nHost: headgate:8080\r\n${CLOSE}`);
  }
  expect(api.seen.map(({ url }) => url)).toEqual([targets[0], targets[1], '/x?y']);
});

test('bytes behind a request that ends its connection are ignored, and earlier requests answered', async () => {
  const { api, gateway } = await setUpApi(ok);
  const get = (path: string, fields = ''): string =>
    `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
  const bytes = get('/1') + get('/2', 'Connection: close\r\n') + get('/3');
  const received = await exchangeRaw(gateway.url, bytes);
  expect(received.split('HTTP/1.1 200 OK')).toHaveLength(3);
  expect(api.seen.map(({ url }) => url)).toEqual(['/1', '/2']);
  const lines = await gateway.log.wait('call', 2);
  expect(lines.map(({ path }) => path)).toEqual(['/1', '/2']);
});
