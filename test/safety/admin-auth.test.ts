import { createServer, request, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { afterEach, describe, expect, test } from 'vitest';
import { makeAdminAuth } from '../../src/admin/auth.ts';
import { AuthThrottle } from '../../src/http/auth-throttle.ts';
import { makeIsOurHost } from '../../src/http/origin-check.ts';
import { FakeClock } from '../support/fake-clock.ts';

const TOKEN = 'operators-only-0123456789';
const BASIC = `Basic ${Buffer.from(`operator:${TOKEN}`).toString('base64')}`;

const RESOURCES = ['/', '/events', '/health/ready', '/metrics', '/buckets'];

let server: Server | undefined;

afterEach(async () => {
  const closing = server;
  server = undefined;
  if (closing === undefined) return;
  closing.closeAllConnections();
  await new Promise((resolve) => {
    closing.close(resolve);
  });
});

interface Guarded {
  readonly token?: string | undefined;
  readonly beyondLoopback?: boolean;
  readonly hosts?: readonly string[];
  readonly trustedProxies?: readonly string[];
}

/** Serves a page, a change, health and metrics behind the guard, and resolves to the port. */
async function serve(guarded: Guarded): Promise<number> {
  const { token, beyondLoopback = false, hosts = [], trustedProxies = [] } = guarded;
  const app = new Hono();
  const isOurHost = makeIsOurHost(hosts);
  const isTrustedProxy = (address = ''): boolean => trustedProxies.includes(address);
  app.use(
    makeAdminAuth({
      token: () => token,
      throttle: new AuthThrottle({ clock: new FakeClock(), report: () => undefined }),
      tls: false,
      beyondLoopback,
      isOurHost,
      isTrustedProxy,
    }),
  );
  for (const path of RESOURCES) app.get(path, (c) => c.text('ok'));
  app.post('/pause', (c) => c.text('paused'));
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const listening = createServer((incoming, outgoing) => void answer(incoming, outgoing));
  server = listening;
  await new Promise<void>((resolve) => {
    listening.listen(0, '127.0.0.1', resolve);
  });
  const address = listening.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly challenge: string | undefined;
  readonly code: string | undefined;
}

function ask(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // A connection for each request: a kept one may be used just when the server closes it.
    const options = { port, host: '127.0.0.1', path, method, headers, agent: false };
    const asked = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { statusCode = 0, headers: answered } = response;
        const { 'www-authenticate': challenge, 'headgate-error': code } = answered;
        resolve({ status: statusCode, text, challenge, code: code?.toString() });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

describe('an admin listener that other machines reach', () => {
  test('serves health and metrics without a token, and nothing else', async () => {
    const port = await serve({ beyondLoopback: true, token: TOKEN });
    expect((await ask(port, '/health/ready')).status).toBe(200);
    expect((await ask(port, '/metrics', { host: 'metrics.example.com' })).status).toBe(200);
    const refused = await ask(port, '/buckets');
    expect(refused).toMatchObject({ status: 401, code: 'token-missing' });
    expect(refused.challenge).toContain('Basic');
    expect((await ask(port, '/no-such-page')).status).toBe(401);
  });

  test('accepts the token as Bearer, and as the password of a browser', async () => {
    const port = await serve({ beyondLoopback: true, token: TOKEN });
    expect((await ask(port, '/buckets', { authorization: `Bearer ${TOKEN}` })).status).toBe(200);
    expect((await ask(port, '/buckets', { authorization: `bearer ${TOKEN}` })).status).toBe(200);
    expect((await ask(port, '/buckets', { authorization: BASIC })).status).toBe(200);
  });

  test.each([
    ['another token', `Bearer ${TOKEN}x`],
    ['a part of it', `Bearer ${TOKEN.slice(0, -1)}`],
    ['an empty one', 'Bearer '],
    ['another scheme', `token ${TOKEN}`],
    ['Basic without a colon', `Basic ${Buffer.from(TOKEN).toString('base64')}`],
    ['Basic with the token as the user', `Basic ${Buffer.from(`${TOKEN}:`).toString('base64')}`],
    ['the token alone', TOKEN],
  ])('refuses %s', async (_, authorization) => {
    const port = await serve({ beyondLoopback: true, token: TOKEN });
    const refused = await ask(port, '/buckets', { authorization });
    expect(refused).toMatchObject({ status: 401, code: 'token-wrong' });
  });

  test('shows its health without a token, also to OPTIONS on /', async () => {
    const port = await serve({ beyondLoopback: true, token: TOKEN });
    expect((await ask(port, '/health/ready', {}, 'OPTIONS')).status).not.toBe(401);
    expect((await ask(port, '/', {}, 'OPTIONS')).status).not.toBe(401);
    expect((await ask(port, '/')).status).toBe(401);
    expect((await ask(port, '/buckets', {}, 'OPTIONS')).status).toBe(401);
  });

  test('answers 403 and names the missing setting when no token is set', async () => {
    const port = await serve({ beyondLoopback: true });
    const refused = await ask(port, '/buckets');
    expect(refused.status).toBe(403);
    expect(refused.text).toContain('HEADGATE_ADMIN_TOKEN');
    expect((await ask(port, '/metrics')).status).toBe(200);
  });
});

describe('an admin listener on loopback', () => {
  test('can be read without a token when none is set', async () => {
    const port = await serve({});
    expect((await ask(port, '/buckets')).status).toBe(200);
  });

  test('requires the token for reading too when one is set', async () => {
    const port = await serve({ token: TOKEN });
    expect((await ask(port, '/buckets')).status).toBe(401);
    expect((await ask(port, '/buckets', { authorization: BASIC })).status).toBe(200);
  });

  test('refuses a web page whose name was rebound to this address', async () => {
    const port = await serve({});
    for (const path of ['/buckets', '/metrics']) {
      const refused = await ask(port, path, { host: `evil.example.com:${port}` });
      expect(refused.status).toBe(403);
      expect(refused.text).toContain('HEADGATE_HOSTS');
    }
  });

  test('accepts the names in HEADGATE_HOSTS', async () => {
    const port = await serve({ hosts: ['gate.example.com'] });
    expect((await ask(port, '/buckets', { host: 'Gate.Example.Com:81' })).status).toBe(200);
  });
});

describe('a page of another origin', () => {
  const FOREIGN = [
    { origin: 'https://evil.example.com' },
    { origin: 'http://127.0.0.1:3000' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    // A frame, a plug-in, an image, and an EventSource or a fetch.
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'object' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    // A WebSocket.
    { origin: 'https://evil.example.com', connection: 'Upgrade', upgrade: 'websocket' },
  ];
  const LINK = {
    'sec-fetch-site': 'cross-site',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
  };

  test.each(RESOURCES)('cannot make a browser request %s, even with its token', async (path) => {
    const port = await serve({ token: TOKEN });
    for (const fields of FOREIGN) {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const refused = await ask(port, path, { authorization: BASIC, ...fields }, method);
        expect([fields, refused.status, refused.code]).toEqual([fields, 403, 'cross-site']);
      }
    }
  });

  test('can link to every resource except the event stream', async () => {
    const port = await serve({ token: TOKEN });
    for (const path of RESOURCES) {
      const { status } = await ask(port, path, { authorization: BASIC, ...LINK });
      expect([path, status]).toEqual([path, path === '/events' ? 403 : 200]);
    }
    expect((await ask(port, '/pause', { authorization: BASIC, ...LINK }, 'POST')).status).toBe(403);
    const withOrigin = { authorization: BASIC, ...LINK, origin: 'https://evil.example.com' };
    expect((await ask(port, '/buckets', withOrigin)).status).toBe(403);
  });

  test('is no page of this listener, no bookmark, and no scraper', async () => {
    const port = await serve({});
    const own = [
      {},
      { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
      { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
      { 'sec-fetch-site': 'same-origin', origin: `http://127.0.0.1:${port}` },
    ];
    for (const path of RESOURCES) {
      for (const fields of own) expect((await ask(port, path, fields)).status).toBe(200);
    }
  });
});

describe('a change', () => {
  test('requires the token on loopback too', async () => {
    const open = await serve({});
    const refused = await ask(open, '/pause', {}, 'POST');
    expect(refused.status).toBe(403);
    expect(refused.text).toContain('HEADGATE_ADMIN_TOKEN');
  });

  test('is made for a request with the token', async () => {
    const port = await serve({ token: TOKEN });
    expect((await ask(port, '/pause', {}, 'POST')).status).toBe(401);
    const made = await ask(port, '/pause', { authorization: `Bearer ${TOKEN}` }, 'POST');
    expect(made).toMatchObject({ status: 200, text: 'paused' });
  });

  test('is refused to a page of another site, even with the credentials of its user', async () => {
    const port = await serve({ token: TOKEN });
    const own = { authorization: BASIC, origin: `http://127.0.0.1:${port}` };
    expect((await ask(port, '/pause', own, 'POST')).status).toBe(200);
    const others = [
      { origin: 'https://evil.example.com' },
      { origin: 'http://127.0.0.1:3000' },
      { origin: `https://127.0.0.1:${port}` },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ];
    for (const fields of others) {
      const refused = await ask(port, '/pause', { authorization: BASIC, ...fields }, 'POST');
      expect(refused.status).toBe(403);
    }
  });

  test('is made for the page as a trusted proxy serves it, over TLS and under its name', async () => {
    const fields = {
      authorization: BASIC,
      origin: 'https://gate.example.com',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'gate.example.com',
    };
    const hosts = ['gate.example.com'];
    const trusting = await serve({ token: TOKEN, hosts, trustedProxies: ['127.0.0.1'] });
    expect((await ask(trusting, '/pause', fields, 'POST')).status).toBe(200);
    const rebound = {
      ...fields,
      origin: 'https://evil.example.com',
      'x-forwarded-host': 'evil.example.com',
    };
    expect(await ask(trusting, '/buckets', rebound)).toMatchObject({ code: 'foreign-host' });
    const trustsNone = await serve({ token: TOKEN, hosts });
    expect((await ask(trustsNone, '/pause', fields, 'POST')).status).toBe(403);
  });
});
