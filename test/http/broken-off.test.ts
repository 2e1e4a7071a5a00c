import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { exchangeRaw, openRaw, startRawServer, type RawSocket } from '../support/raw-socket.ts';
import { Certificates } from '../support/certificates.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { until } from '../support/setup.ts';
import { setUpGateway, ok, setUpApi, untilWaiting } from './setup.ts';
import { needs } from '../support/tools.ts';

const NO_RETRIES = { HEADGATE_RETRIES: '0' };

/** Starts a gateway to an API that answers each request with these bytes. */
async function setUpBytes(answer: (raw: RawSocket) => void) {
  const api = await startRawServer((raw) => {
    raw.socket.once('data', () => answer(raw));
  });
  onTestFinished(() => api.close());
  return setUpGateway(api.url, NO_RETRIES);
}

describe('an early hint', () => {
  const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

  test.each([
    ['several links', '</a>; rel=preload, </b>; rel=preload'],
    ['a quoted title', '</a>; rel=preload; title="a b"'],
  ])('with %s passes, and the answer after it', async (_name, link) => {
    const gateway = await setUpBytes((raw) =>
      raw.write(
        `HTTP/1.1 103 Early Hints\r\nLink: ${link}\r\nKeep-Alive: timeout=1\r\n\r\n${ANSWER}`,
      ),
    );
    const { status, text, early } = await ask(`${gateway.url}/a`);
    expect({ status, text }).toEqual({ status: 200, text: 'ok' });
    expect(early).toEqual([{ status: 103, headers: { link } }]);
  });

  test('does not pass to HTTP/1.0, which would take it for the answer', async () => {
    const gateway = await setUpBytes((raw) =>
      raw.write(`HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n${ANSWER}`),
    );
    expect(await exchangeRaw(gateway.url, 'GET /a HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test('an interim answer that the gateway does not know passes', async () => {
  const location = 'https://up.example/1';
  const gateway = await setUpBytes((raw) =>
    raw.write(
      `HTTP/1.1 104 Upload Resumption Supported\r\nLocation: ${location}\r\n\r\n` +
        'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    ),
  );
  const { text, early } = await ask(`${gateway.url}/a`);
  expect({ text, early }).toEqual({ text: 'ok', early: [{ status: 104, headers: { location } }] });
});

test('an interim answer does not end the connection, whatever its fields say', async () => {
  const gateway = await setUpBytes((raw) =>
    raw.write(
      'HTTP/1.1 103 Early Hints\r\nConnection: close\r\nContent-Length: 9\r\nX-A: b\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    ),
  );
  const { text, early } = await ask(`${gateway.url}/a`);
  expect({ text, early }).toEqual({
    text: 'ok',
    early: [{ status: 103, headers: { 'x-a': 'b' } }],
  });
});

test('an answer in a transfer coding that the gateway cannot pass on is replaced by a 502', async () => {
  const gateway = await setUpBytes((raw) =>
    raw.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
  );
  const { status, text } = await ask(`${gateway.url}/a`);
  expect(status).toBe(502);
  expect(JSON.parse(text)).toMatchObject({ code: 'upstream-protocol' });
  expect(text).toContain('gzip, chunked');
});

test('an answer with the transfer coding identity passes', async () => {
  const gateway = await setUpBytes((raw) => {
    raw.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nok');
    raw.socket.end();
  });
  const { status, text } = await ask(`${gateway.url}/a`);
  expect([status, text]).toEqual([200, 'ok']);
});

test('an answer that ends with its connection is incomplete if the API resets it', async () => {
  const gateway = await setUpBytes((raw) => {
    raw.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc');
    reset = () => raw.socket.resetAndDestroy();
  });
  let reset: (() => void) | undefined;
  const answer = await ask(`${gateway.url}/a`, { onData: () => reset?.() });
  expect({ text: answer.text, complete: answer.complete }).toEqual({
    text: 'abc',
    complete: false,
  });
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-protocol' });
});

test('an answer of unknown length that breaks off resets the connection of an HTTP/1.0 caller', async () => {
  let breakOff: (() => void) | undefined;
  const gateway = await setUpBytes((raw) => {
    raw.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    breakOff = () => raw.write('not a chunk\r\n');
  });
  const raw = await openRaw(gateway.url);
  raw.write('GET /a HTTP/1.0\r\n\r\n');
  await raw.until((text) => text.endsWith('abc'));
  breakOff?.();
  expect(await raw.end()).toBe('reset');
});

test('a caller that disconnects while its retry waits frees its place at once, even if the last answer ended late', async () => {
  let finish: (() => void) | undefined;
  const { gateway } = await setUpApi((_incoming, outgoing) => {
    outgoing.writeHead(429, { 'X-RateLimit-Remaining': '0', 'Retry-After': '60' });
    outgoing.write('slow');
    finish = () => outgoing.end('down');
  });
  const raw = await openRaw(gateway.url);
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await untilWaiting(gateway, 1);
  finish?.();
  // Once the answer has ended, the socket to the API is free, and another call uses it.
  await until('the answer ended', async () => {
    const other = await ask(`${gateway.url}/b`, { headers: { 'headgate-max-wait': '1' } });
    return other.status === 503;
  });
  raw.socket.destroy();
  await until('no call waits', () =>
    gateway.log.named('call').some((line) => line['path'] === '/a'),
  );
  expect(gateway.log.named('call').find((line) => line['path'] === '/a')).toMatchObject({
    outcome: 'aborted',
    attempts: 1,
    waiting: 0,
  });
});

test('a request behind a body that the API did not read is answered', async () => {
  const { gateway } = await setUpApi(
    (incoming, outgoing) => {
      outgoing.end(incoming.url);
      if (incoming.method === 'POST') outgoing.on('finish', () => incoming.socket.destroySoon());
    },
    { ...NO_RETRIES, HEADGATE_BODY_LIMIT: '1KiB' },
  );
  const raw = await openRaw(gateway.url);
  const body = 'a'.repeat(400_000);
  raw.write(`POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: ${2 * body.length}\r\n\r\n${body}`);
  await raw.until((text) => text.includes('/1') || text.includes('502'));
  raw.write(`${body}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n`);
  expect(await raw.until((text) => text.endsWith('/2'))).toContain('200 OK');
  raw.socket.destroy();
});

test('an upload that failed leaves no timer when its caller disconnects', async () => {
  const clock = new FakeClock();
  const settings = { ...NO_RETRIES, HEADGATE_BODY_LIMIT: '1KiB' };
  const gateway = await startGateway({ settings, clock });
  const raw = await openRaw(gateway.url);
  const body = 'a'.repeat(500_000);
  raw.write(`POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${body}`);
  await raw.until((text) => text.startsWith('HTTP/1.1 502 '));
  raw.socket.destroy();
  await gateway.stop();
  // A timer that waits for bytes of the body fires once more at most.
  clock.advance(60_000);
  expect(clock.pending).toBe(0);
});

test('the log has nothing of an answer that is not HTTP', async () => {
  const gateway = await setUpBytes((raw) =>
    raw.write('HTTP/1.1 200 OK\r\nBad Field: x\r\nSet-Cookie: hush\r\n\r\n{"token":"hush"}'),
  );
  expect((await ask(`${gateway.url}/a`)).status).toBe(502);
  await gateway.log.wait('attempt failed', 1);
  expect(gateway.log.text).not.toContain('hush');
});

test('a request body in a transfer coding other than chunked is refused', async () => {
  const { api, gateway } = await setUpApi(ok);
  const received = await exchangeRaw(
    gateway.url,
    'POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
  );
  expect(received).toMatch(/^HTTP\/1\.1 400 [^]*expected chunked, got \\"gzip, chunked\\"/);
  expect(api.seen).toEqual([]);
});

test('pipelined requests leave no listeners on the socket of their caller', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  onTestFinished(() => void process.off('warning', onWarning));
  const { gateway } = await setUpApi(ok);
  const raw = await openRaw(gateway.url);
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(30));
  await raw.until((text) => text.split('HTTP/1.1 200').length === 31);
  raw.socket.destroy();
  await gateway.log.wait('call', 30);
  // Others may be late ones of earlier tests in this process.
  expect(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning')).toEqual([]);
});

describe('when the drain timeout is over', () => {
  test('a call whose body is incomplete is refused and logged', async () => {
    const { gateway } = await setUpApi(ok);
    const raw = await openRaw(gateway.url);
    raw.write('POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc');
    raw.write('');
    await ask(`${gateway.url}/b`);
    await gateway.stop();
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 503 [^]*Headgate-Error: draining/);
    expect(gateway.log.named('call')).toMatchObject([
      { path: '/b', outcome: 'answered' },
      { path: '/a', outcome: 'shed', code: 'draining' },
    ]);
  });

  test('a connection in its TLS handshake is broken', { tags: needs('openssl') }, async () => {
    const certificates = new Certificates();
    onTestFinished(() => certificates.remove());
    const { certPath, keyPath } = certificates.make('IP:127.0.0.1');
    const { gateway } = await setUpApi(ok, {
      HEADGATE_TLS_CERT: certPath,
      HEADGATE_TLS_KEY: keyPath,
    });
    const { port } = new URL(gateway.url);
    const socket = connect(Number(port), '127.0.0.1');
    const closed = new Promise((resolve) => {
      socket.on('error', () => undefined).on('close', () => resolve('closed'));
    });
    await new Promise((resolve) => {
      socket.on('connect', resolve);
    });
    await gateway.stop();
    expect(await closed).toBe('closed');
  });
});
