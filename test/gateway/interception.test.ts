// @module-tag needs-openssl
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Certificate } from '../support/certificates.ts';
import { startGateway } from '../support/gateway.ts';
import { Interceptions } from '../support/interception.ts';
import { connectThrough, requestText, sendConnect } from '../support/proxy-client.ts';
import { exchangeRaw, openRaw } from '../support/raw-socket.ts';

/** The proxy for clients with a fixed address: what it answers for, and what it refuses. */

let interceptions: Interceptions;
let authority: Certificate;
beforeAll(() => {
  interceptions = new Interceptions();
  ({ authority } = interceptions);
});
afterAll(() => interceptions.remove());

const setUp: Interceptions['setUp'] = (options) => interceptions.setUp(options);

describe('a CONNECT to a host of an API', () => {
  test('is answered with a certificate of the authority, and its requests are calls', async () => {
    const { api, gateway } = await setUp({ settings: { HEADGATE_TOKEN: 'the-token' } });
    const raw = await connectThrough(gateway.proxyUrl, {
      ca: authority.cert,
      protocols: ['h2', 'http/1.1'],
    });
    expect(raw.tls.authorized).toBe(true);
    expect(raw.tls.alpnProtocol).toBe('http/1.1');
    expect(raw.tls.getPeerX509Certificate()?.checkHost('api.example')).toBe('api.example');
    raw.write('GET /a?b=1 HTTP/1.1\r\nHost: api.example\r\n\r\n');
    await raw.until((text) => text.endsWith('ok'));
    raw.write(requestText('/c', 'api.example:443', ['Content-Length: 2'], 'POST') + 'hi');
    await raw.end();
    expect(raw.received.match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
    expect(api.seen).toMatchObject([
      {
        method: 'GET',
        url: '/a?b=1',
        servername: 'api.example',
        headers: { host: 'api.example', authorization: 'token the-token' },
      },
      { method: 'POST', url: '/c' },
    ]);
    expect(await gateway.log.wait('call', 2)).toMatchObject([
      { method: 'GET', path: '/a', status: 200, outcome: 'answered', bucket: 'own:all' },
      { method: 'POST', path: '/c', status: 200, outcome: 'answered', bytesIn: 2 },
    ]);
  });

  test('may be of HTTP/1.0, have no Host, name the host in capitals, and be followed at once', async () => {
    const { gateway } = await setUp();
    const raw = await openRaw(gateway.proxyUrl);
    onTestFinished(() => void raw.socket.destroy());
    raw.write('CONNECT API.Example.:443 HTTP/1.0\r\n\r\n');
    await raw.until((text) => text.startsWith('HTTP/1.1 200 '));
    expect(raw.received).not.toMatch(/content-length|transfer-encoding/i);
  });

  test('serves a client that sends no server name', async () => {
    const { gateway } = await setUp();
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert, servername: '' });
    raw.write(requestText('/', 'api.example'));
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('reaches the API below its base path, under the paths that its clients use', async () => {
    const { api, gateway } = await setUp({ upstream: 'https://api.example/v4' });
    for (const path of ['/v4/items', '/v4/../v4/x', '/other']) {
      const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
      raw.write(requestText(path, 'api.example'));
      await raw.end();
      expect([path, raw.received.slice(9, 12)]).toEqual([path, path === '/other' ? '404' : '200']);
    }
    expect(api.seen.map(({ url }) => url)).toEqual(['/v4/items', '/v4/x']);
    expect(await gateway.log.wait('call', 3)).toMatchObject([{}, {}, { code: 'no-route' }]);
  });

  test('has links of answers unchanged, because they lead through the proxy already', async () => {
    const { gateway } = await setUp({
      answer: (_incoming, outgoing) =>
        outgoing.writeHead(302, { location: 'https://api.example/b' }).end(),
    });
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
    raw.write(requestText('/a', 'api.example'));
    await raw.end();
    expect(raw.received).toMatch(/^location: https:\/\/api\.example\/b\r$/im);
  });
});

describe('a plain request through the proxy', () => {
  test('for a host of an API is a call, which goes to the API over TLS', async () => {
    const { api, gateway } = await setUp();
    for (const target of ['http://api.example/a', 'http://API.example:80/b']) {
      const answer = await exchangeRaw(gateway.proxyUrl, requestText(target, 'api.example'));
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    }
    expect(api.seen.map(({ url, servername }) => [url, servername])).toEqual([
      ['/a', 'api.example'],
      ['/b', 'api.example'],
    ]);
  });

  test.each([
    ['for another host', 'http://evil.example/', 'evil.example', 403, 'forbidden-target'],
    ['with user information', 'http://a@api.example/', 'api.example', 403, 'forbidden-target'],
    ['with another Host', 'http://api.example/', 'evil.example', 400, 'bad-request'],
    ['that is none', '/a', 'api.example', 400, 'bad-request'],
  ])('%s is refused', async (_what, target, host, status, code) => {
    const { api, gateway } = await setUp({ settings: { HEADGATE_INTERCEPT_OTHERS: 'tunnel' } });
    const answer = await exchangeRaw(gateway.proxyUrl, requestText(target, host));
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ code, status }]);
    expect(api.seen).toEqual([]);
  });
});

describe('is refused with one log line:', () => {
  test.each([
    ['another host', 'evil.example:443', [], 403, 'forbidden-target', 'evil.example:443'],
    ['another port', 'api.example:8443', [], 403, 'forbidden-target', 'api.example:8443'],
    ['the port of http', 'api.example:80', [], 403, 'forbidden-target', 'api.example:80'],
    ['no port', 'api.example', [], 400, 'bad-request', ''],
    ['user information', 'a:b@api.example:443', [], 400, 'bad-request', ''],
    ['a path', 'api.example:443/x', [], 400, 'bad-request', ''],
    ['another Host', 'api.example:443', ['Host: evil.example:443'], 400, 'bad-request', ''],
    ['two Hosts', 'api.example:443', ['Host: api.example', 'Host: a'], 400, 'bad-request', ''],
    ['a body', 'api.example:443', ['Content-Length: 5'], 400, 'bad-request', ''],
    ['a coded body', 'api.example:443', ['Transfer-Encoding: chunked'], 400, 'bad-request', ''],
  ])('CONNECT with %s', async (_what, target, headers, status, code, path) => {
    const { api, gateway } = await setUp();
    const raw = await sendConnect(gateway.proxyUrl, { target, headers });
    await raw.end();
    expect(raw.received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*"code":"${code}"`, 's'));
    expect(await gateway.log.wait('call', 1)).toMatchObject([
      { method: 'CONNECT', status, code, path, caller: '127.0.0.1' },
    ]);
    expect(gateway.log.named('call')).toHaveLength(1);
    expect(api.seen).toEqual([]);
  });

  test('CONNECT inside the connection of another CONNECT', async () => {
    const { gateway } = await setUp();
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
    raw.write('CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n');
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 501 .*"method-not-supported"/s);
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ method: 'CONNECT', status: 501 }]);
  });

  test('CONNECT behind a request that has no answer yet', async () => {
    const { api, gateway } = await setUp();
    const raw = await openRaw(gateway.proxyUrl);
    raw.write(
      'GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\nCONNECT api.example:443 HTTP/1.1\r\n\r\n',
    );
    await raw.end();
    expect(raw.received).not.toContain('Connection established');
    expect(api.seen.length).toBeLessThanOrEqual(1);
    expect(await gateway.log.wait('call', 2)).toContainEqual(
      expect.objectContaining({ method: 'CONNECT', code: 'bad-request' }),
    );
  });

  test('bytes behind a CONNECT that are not TLS', async () => {
    const { api, gateway } = await setUp();
    const raw = await sendConnect(gateway.proxyUrl);
    raw.write(requestText('/', 'api.example'));
    await raw.end();
    expect(api.seen).toEqual([]);
    expect(await gateway.log.wait('intercepted handshakes failed', 1)).toMatchObject([
      { host: 'api.example', address: '127.0.0.1', failures: 1 },
    ]);
  });
});

describe('in the connection of a CONNECT', () => {
  test('another Host than that of the CONNECT is misdirected', async () => {
    const { api, gateway } = await setUp();
    for (const host of [
      'other.example',
      'api.example.evil.example',
      'api.example@evil.example',
      '',
    ]) {
      const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
      raw.write(requestText('/a', host));
      await raw.end();
      expect([host, raw.received.slice(0, 13)]).toEqual([host, 'HTTP/1.1 421 ']);
    }
    expect(await gateway.log.wait('call', 4)).toMatchObject(
      Array.from({ length: 4 }, () => ({ code: 'misdirected', status: 421, path: '/a' })),
    );
    expect(api.seen).toEqual([]);
  });

  test('an absolute target of another host is refused', async () => {
    const { api, gateway } = await setUp();
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
    raw.write(requestText('https://other.example/a', 'api.example'));
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 403 .*"forbidden-target"/s);
    expect(api.seen).toEqual([]);
  });

  test('another name in the TLS handshake ends it', async () => {
    const { api, gateway } = await setUp();
    await expect(
      connectThrough(gateway.proxyUrl, { ca: authority.cert, servername: 'other.example' }),
    ).rejects.toThrow('disconnected before secure TLS connection');
    expect(await gateway.log.wait('intercepted handshakes failed', 1)).toMatchObject([
      { host: 'api.example', reason: expect.stringContaining('other.example') },
    ]);
    expect(api.seen).toEqual([]);
  });

  test('a client that offers HTTP/2 alone gets no connection', async () => {
    const { gateway } = await setUp();
    await expect(
      connectThrough(gateway.proxyUrl, { ca: authority.cert, protocols: ['h2'] }),
    ).rejects.toThrow('no application protocol');
  });

  test('a client that does not trust the authority sends nothing, and the log names the reason', async () => {
    const { api, gateway } = await setUp();
    const foreign = interceptions.certificates.authority(['api.example']);
    await expect(connectThrough(gateway.proxyUrl, { ca: foreign.cert })).rejects.toThrow(
      /certificate|signature/,
    );
    await gateway.log.wait('intercepted handshakes failed', 1);
    expect(api.seen).toEqual([]);
  });

  test('malformed bytes are refused as on any listener', async () => {
    const { gateway } = await setUp();
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
    raw.write('nonsense\r\n\r\n');
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 400 /);
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ code: 'bad-request' }]);
  });

  test('a WebSocket is refused as on any listener', async () => {
    const { gateway } = await setUp();
    const raw = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
    raw.write(
      'GET / HTTP/1.1\r\nHost: api.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    await raw.until((text) => text.includes('requestId'));
    expect(raw.received).toMatch(/^HTTP\/1\.1 501 .*"websocket-not-supported"/s);
  });
});

test('the callers’ listener refuses CONNECT as before', async () => {
  const { gateway } = await setUp();
  const raw = await sendConnect(gateway.url);
  await raw.end();
  expect(raw.received).toMatch(/^HTTP\/1\.1 501 /);
});

test('without the setting there is no proxy', async () => {
  const gateway = await startGateway();
  onTestFinished(() => gateway.stop());
  expect(gateway.proxyUrl).toBe('');
  expect(gateway.log.named('listening')[0]).not.toHaveProperty('proxyUrl');
});

test('a drain ends idle connections of the proxy, and lets calls in them finish', async () => {
  let finish: (() => void) | undefined;
  const { gateway } = await setUp({
    answer: (_incoming, outgoing) => void (finish = () => outgoing.end('ok')),
    settings: { HEADGATE_DRAIN_TIMEOUT: '1m' },
  });
  const idle = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
  const busy = await connectThrough(gateway.proxyUrl, { ca: authority.cert });
  const seen = new Promise<void>((resolve) => {
    const look = (): void => void (finish === undefined ? setImmediate(look) : resolve());
    look();
  });
  busy.write('GET / HTTP/1.1\r\nHost: api.example\r\n\r\n');
  await seen;
  const stopped = gateway.stop();
  await idle.end();
  finish?.();
  await busy.end();
  expect(busy.received).toMatch(/^HTTP\/1\.1 200 .*ok$/s);
  await stopped;
  await expect(openRaw(gateway.proxyUrl)).rejects.toThrow('ECONNREFUSED');
});
