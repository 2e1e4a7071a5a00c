import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startAzion, type Azion } from '../support/azion.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

const TOKEN = 'the-api-token-0123456789';
const OWN = 'token of-a-caller-of-its-own';

let api: Azion;
let gateway: TestGateway;
let seenBefore = 0;

beforeAll(async () => {
  const limit = { limit: 10_000, periodMs: 60_000 };
  api = await startAzion({ limits: { read: limit, write: limit } });
  gateway = await startGateway({
    upstream: api.url,
    settings: { HEADGATE_TOKEN: TOKEN, HEADGATE_HOSTS: 'gate.example.com,headgate.prod' },
  });
});

beforeEach(() => {
  seenBefore = api.seen.length;
});

afterAll(async () => {
  await gateway.stop();
  await api.close();
});

describe('with a configured token, a web page', () => {
  test.each([
    ['of another site', { origin: 'https://evil.example.com' }],
    ['of another port of this host', { origin: 'http://127.0.0.1:1' }],
    ['in a sandbox', { origin: 'null' }],
    ['that shows an image from here', { 'sec-fetch-site': 'cross-site' }],
    ['of the same site and another origin', { 'sec-fetch-site': 'same-site' }],
    ['of this host over TLS', { origin: 'https://127.0.0.1:PORT' }],
    ['with two origins', { origin: 'http://127.0.0.1, https://evil.example.com' }],
  ])('%s cannot use it', async (_, fields) => {
    const { port } = new URL(gateway.url);
    const headers = Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, value.replace('PORT', port)]),
    );
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const refused = await ask(`${gateway.url}/domains`, { method, headers });
      expect(refused.status).toBe(403);
      expect(refused.headers['headgate-error']).toBe('cross-site');
    }
    expect(api.seen).toHaveLength(seenBefore);
  });

  test.each([
    'evil.example.com',
    'evil.example.com:8080',
    'localhost.evil.example.com',
    '127.0.0.1.evil.example.com',
    'evil.internal.example.com',
    'gate.example.com.evil.example.com',
    '127.0.0.1@evil.example.com',
    'ai',
    'AI:8080',
    'ai.',
    'xn--p1ai',
  ])('whose name %j resolves to this address cannot use it', async (host) => {
    const refused = await ask(`${gateway.url}/domains`, { headers: { host } });
    expect(refused.status).toBe(403);
    expect(refused.headers['headgate-error']).toBe('foreign-host');
    expect(JSON.parse(refused.text).detail).toContain('HEADGATE_HOSTS');
    expect(api.seen).toHaveLength(seenBefore);
  });

  test('can use its own credentials', async () => {
    const headers = { origin: 'https://app.example.com', authorization: OWN };
    expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
  });
});

describe('with a configured token, a service', () => {
  test.each([
    'localhost:8080',
    'LOCALHOST',
    'app.localhost:8080',
    '127.0.0.1',
    '10.1.2.3:8080',
    'api',
    'a',
    'xn--gate.internal',
    '[::1]:8080',
    '[fd00::1]',
    'headgate',
    'headgate:8080',
    'headgate.platform.svc',
    'headgate.platform.svc.cluster.local:8080',
    'headgate.platform.svc.cluster.local.:8080',
    'headgate.',
    'headgate.corp.internal',
    'gate.example.com',
    'Gate.Example.Com.:8080',
    'headgate.prod',
  ])('reaches the gateway as %s', async (host) => {
    expect((await ask(`${gateway.url}/domains`, { headers: { host } })).status).toBe(200);
  });

  test('or a browser that opens the gateway directly is not taken for a page of another site', async () => {
    const { host } = new URL(gateway.url);
    for (const headers of [
      { 'sec-fetch-site': 'none' },
      { 'sec-fetch-site': 'same-origin', origin: gateway.url },
      { host, origin: `http://${host}` },
    ]) {
      expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
    }
  });
});

test('without a configured token, Host is checked, and Origin is not', async () => {
  const plain = await startGateway({ upstream: api.url });
  try {
    const headers = { origin: 'https://app.example.com', authorization: OWN };
    expect((await ask(`${plain.url}/domains`, { headers })).status).toBe(200);
    for (const credentials of [{ authorization: OWN }, {}]) {
      const refused = await ask(`${plain.url}/domains`, {
        headers: { ...credentials, host: 'anything.example.com' },
      });
      expect(refused.status).toBe(403);
      expect(refused.headers['headgate-error']).toBe('foreign-host');
    }
  } finally {
    await plain.stop();
  }
});
