// @module-tag needs-openssl
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCallerOfKey, type CallerOfKey } from '../../src/gateway/identify/credentials.ts';
import { makeInterception } from '../../src/gateway/proxy/interception.ts';
import { Peers } from '../../src/gateway/connections/peers.ts';
import { ProxyKeys } from '../../src/gateway/proxy/proxy-keys.ts';
import type { TunnelTarget } from '../../src/gateway/proxy/tunnels.ts';
import { AuthThrottle } from '../../src/http/auth-throttle.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { Interceptions } from '../support/interception.ts';
import { connectThrough, requestText, sendConnect } from '../support/proxy-client.ts';
import { exchangeRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

/** The keys of callers that use the proxy. */

const KEYS = { billing: 'key-of-billing-1234', web: 'key-of-web-12345678' };

let interceptions: Interceptions;
beforeAll(() => {
  interceptions = new Interceptions();
});
afterAll(() => interceptions.remove());

function setUp(
  settings: Record<string, string> = {},
  clock?: FakeClock,
): ReturnType<Interceptions['setUp']> {
  return interceptions.setUp({
    ...(clock === undefined ? {} : { clock }),
    settings: {
      HEADGATE_TOKEN: 'the-token',
      HEADGATE_CALLER_KEYS: `billing=${KEYS.billing},web=${KEYS.web}`,
      ...settings,
    },
  });
}

function basic(pair: string): string {
  return `Proxy-Authorization: Basic ${Buffer.from(pair).toString('base64')}`;
}

describe('a CONNECT where callers need keys', () => {
  test.each([
    ['the password', `anything:${KEYS.billing}`],
    ['the name without a password', `${KEYS.billing}:`],
    ['the name without a colon', KEYS.billing],
  ])('has the key as %s, which names the caller of its calls', async (_what, pair) => {
    const { api, gateway } = await setUp();
    const { cert: ca } = interceptions.authority;
    const raw = await connectThrough(gateway.proxyUrl, { ca, headers: [basic(pair)] });
    raw.write('GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n');
    await raw.until((text) => text.endsWith('ok'));
    raw.write(requestText('/b', 'api.example', [`Headgate-Key: ${KEYS.web}`]));
    await raw.end();
    expect(await gateway.log.wait('call', 2)).toMatchObject([
      { caller: 'billing', status: 200 },
      { caller: 'web', status: 200 },
    ]);
    for (const { headers, rawHeaders } of api.seen) {
      expect(headers.authorization).toBe('token the-token');
      expect(rawHeaders.join()).not.toMatch(/proxy-authorization|headgate-key/i);
      expect(rawHeaders.join()).not.toContain(KEYS.billing);
    }
  });

  test.each([
    ['without a key', []],
    ['with an empty one', [basic(':')]],
    ['with another scheme', [`Proxy-Authorization: Bearer ${KEYS.billing}`]],
    ['with a wrong one', [basic('billing:another-key-12345')]],
    ['with what is not Base64', ['Proxy-Authorization: Basic §']],
  ])('%s gets a 407 and one log line', async (_what, headers) => {
    const { api, gateway } = await setUp();
    const raw = await sendConnect(gateway.proxyUrl, { headers });
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 407 Proxy Authentication Required\r\n/);
    expect(raw.received).toMatch(/^Proxy-Authenticate: Basic realm="Headgate"\r$/m);
    expect(await gateway.log.wait('call', 1)).toMatchObject([
      { method: 'CONNECT', code: 'proxy-key-required', status: 407, path: 'api.example:443' },
    ]);
    expect(JSON.stringify(gateway.log.lines)).not.toContain('another-key');
    expect(api.connections).toBe(0);
  });

  test('is refused before anything is said of its host', async () => {
    const { gateway } = await setUp({ HEADGATE_INTERCEPT_OTHERS: 'tunnel' });
    for (const target of ['evil.example:443', '127.0.0.1:443', 'api.example:1']) {
      const raw = await sendConnect(gateway.proxyUrl, { target });
      await raw.end();
      expect(raw.received).toMatch(/^HTTP\/1\.1 407 /);
    }
  });

  test('is slowed like any other sender of wrong keys', async () => {
    const clock = new FakeClock({ epochMs: Date.now() });
    const { gateway } = await setUp({}, clock);
    const statuses: string[] = [];
    const sent = Array.from({ length: 21 }, async () => {
      const headers = [basic('a:wrong-key-12345678')];
      const raw = await sendConnect(gateway.proxyUrl, { headers });
      statuses.push(raw.received.slice(9, 12));
    });
    const counts = (): number[] =>
      ['407', '429'].map((wanted) => statuses.filter((status) => status === wanted).length);
    // Ten are answered at once, ten are delayed, and one is too many.
    await until('eleven are answered', () => statuses.length === 11);
    expect(counts()).toEqual([10, 1]);
    clock.advance(1000);
    await Promise.all(sent);
    expect(counts()).toEqual([20, 1]);
    expect(gateway.log.named('auth failures')).toHaveLength(1);
  });
});

describe('a key that a reload removes', () => {
  test('is refused in the connection of a CONNECT that it opened, and so is a new CONNECT', async () => {
    const { api, gateway } = await setUp();
    const { cert: ca } = interceptions.authority;
    const headers = [basic(`billing:${KEYS.billing}`)];
    const raw = await connectThrough(gateway.proxyUrl, { ca, headers });
    raw.write('GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n');
    await raw.until((text) => text.endsWith('ok'));

    gateway.reload({ settings: { HEADGATE_CALLER_KEYS: `web=${KEYS.web}` } });
    raw.write(requestText('/b', 'api.example'));
    await raw.end();
    expect(raw.received).toMatch(/ok.*HTTP\/1\.1 401 .*"unknown-caller"/s);
    const again = await sendConnect(gateway.proxyUrl, { headers });
    await again.end();
    expect(again.received).toMatch(/^HTTP\/1\.1 407 /);
    expect(await gateway.log.wait('call', 3)).toMatchObject([
      { path: '/a', status: 200, caller: 'billing' },
      { path: '/b', status: 401, code: 'unknown-caller', caller: '127.0.0.1' },
      { method: 'CONNECT', status: 407, code: 'proxy-key-required' },
    ]);
    expect(api.seen.map(({ url }) => url)).toEqual(['/a']);
  });

  test('is no longer that of the tunnels which it opened', () => {
    let known: CallerOfKey | undefined = makeCallerOfKey(
      [{ caller: 'billing', key: KEYS.billing }],
      Buffer.from('hash key'),
    );
    const credentials = Buffer.from(`billing:${KEYS.billing}`).toString('base64');
    const target = tunnelOf(() => known, `Basic ${credentials}`);
    expect(target?.isAllowed()).toBe(true);
    known = makeCallerOfKey([], Buffer.from('hash key'));
    expect(target?.isAllowed()).toBe(false);
  });
});

describe('a reload that adds the first key', () => {
  test('ends the tunnels that were opened without a key', () => {
    const keys: { caller: string; key: string }[] = [];
    const target = tunnelOf(
      () => (keys.length === 0 ? undefined : makeCallerOfKey(keys, Buffer.from('hash key'))),
      undefined,
    );
    expect(target?.isAllowed()).toBe(true);
    keys.push({ caller: 'billing', key: KEYS.billing });
    expect(target?.isAllowed()).toBe(false);
  });
});

/** Opens a tunnel by a CONNECT, and returns where it leads. */
function tunnelOf(
  callerOfKey: () => CallerOfKey | undefined,
  credentials: string | undefined,
): TunnelTarget | undefined {
  const clock = new FakeClock();
  let target: TunnelTarget | undefined;
  const interception = makeInterception({
    hosts: new Map(),
    certificates: { of: () => ({ cert: '', key: '' }), onChange: () => undefined },
    tunnels: { open: (_socket, _head, to) => void (target = to), close: () => undefined },
    callerOfKey,
    proxyKeys: new ProxyKeys(),
    authThrottle: new AuthThrottle({ clock, report: () => undefined }),
    peers: new Peers(),
    clock,
    log: { warn: () => undefined },
  });
  const incoming = new IncomingMessage(new Socket());
  incoming.url = 'far.example:443';
  if (credentials !== undefined) incoming.headers['proxy-authorization'] = credentials;
  interception.connect(incoming, Buffer.alloc(0), {
    isFirst: true,
    refuse: (error) => expect(error).toBeUndefined(),
    handOver: () => undefined,
    carry: () => undefined,
  });
  return target;
}

describe('a plain request through the proxy where callers need keys', () => {
  const TARGET = 'http://api.example/a';

  test('has its key in Proxy-Authorization, which the API does not get', async () => {
    const { api, gateway } = await setUp();
    const lines = [basic(`billing:${KEYS.billing}`)];
    const answer = await exchangeRaw(gateway.proxyUrl, requestText(TARGET, 'api.example', lines));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ caller: 'billing' }]);
    expect(api.seen[0]?.headers).not.toHaveProperty('proxy-authorization');
  });

  test.each([
    ['none', []],
    ['a wrong one', [basic('a:wrong-key-12345678')]],
    ['one in Headgate-Key alone', [`Headgate-Key: ${KEYS.billing}`]],
  ])('with %s gets a 407', async (_what, lines) => {
    const { api, gateway } = await setUp();
    const answer = await exchangeRaw(gateway.proxyUrl, requestText(TARGET, 'api.example', lines));
    expect(answer).toMatch(/^HTTP\/1\.1 407 .*Proxy-Authenticate: Basic .*"proxy-key-required"/s);
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ code: 'proxy-key-required' }]);
    expect(api.seen).toEqual([]);
  });
});

test('the callers’ listener reads no key in Proxy-Authorization', async () => {
  const { api, gateway } = await setUp();
  const lines = [basic(`billing:${KEYS.billing}`)];
  const answer = await exchangeRaw(gateway.url, requestText('/a', 'gateway', lines));
  expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  expect(api.seen).toEqual([]);
});

test('where callers need no key, none is read', async () => {
  const { gateway } = await setUp({ HEADGATE_CALLER_KEYS: '' });
  const raw = await sendConnect(gateway.proxyUrl, { headers: [basic('a:wrong-key-12345678')] });
  expect(raw.received).toMatch(/^HTTP\/1\.1 200 /);
});
