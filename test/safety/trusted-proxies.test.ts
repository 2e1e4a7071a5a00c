import { describe, expect, onTestFinished, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

const TOKEN = 'the-api-token-0123456789';
const TRUSTING = { HEADGATE_TRUSTED_PROXIES: '10.9.9.9, 127.0.0.2, ::1' };
const PROXY = '127.0.0.2';

/** A gateway in front of an API whose answers have a link to itself. */
async function setUpLinks(settings: Record<string, string>): Promise<TestGateway> {
  const api = await startApi((_incoming, outgoing) => {
    outgoing.writeHead(201, { location: `${api.url}/a` }).end();
  });
  onTestFinished(() => api.close());
  const gateway = await startGateway({ upstream: api.url, settings });
  onTestFinished(() => gateway.stop());
  return gateway;
}

async function linkFor(
  gateway: TestGateway,
  headers: Record<string, string>,
  from = PROXY,
): Promise<string> {
  const answer = await ask(`${gateway.url}/a`, { headers: { host: 'gate', ...headers }, from });
  expect(answer.status).toBe(201);
  return answer.headers.location ?? '';
}

describe('the links of an answer', () => {
  test.each([
    [{ 'x-forwarded-proto': 'https' }, 'https://gate/a'],
    [{ 'x-forwarded-proto': 'HTTPS' }, 'https://gate/a'],
    [{ 'x-forwarded-proto': 'https, http' }, 'https://gate/a'],
    [{ 'x-forwarded-proto': 'http,https' }, 'http://gate/a'],
    [{ 'x-forwarded-proto': 'gopher' }, 'http://gate/a'],
    [{ 'x-forwarded-host': 'front.internal:8443' }, 'http://front.internal:8443/a'],
    [{ 'x-forwarded-host': 'front.internal, gate' }, 'http://front.internal/a'],
    [{ forwarded: 'for=10.0.0.1;proto=https;host=front.internal' }, 'https://front.internal/a'],
    [{ forwarded: 'Proto=HTTPS ; Host="front.internal:81", for=b' }, 'https://front.internal:81/a'],
    [{ forwarded: 'for="[fd00::1]:4711", proto=https' }, 'http://gate/a'],
    [{ forwarded: 'proto=https;host' }, 'http://gate/a'],
    [{ 'x-forwarded-proto': 'http', forwarded: 'proto=https' }, 'http://gate/a'],
    [{}, 'http://gate/a'],
  ])('from a trusted proxy that sends %j lead to %s', async (headers, link) => {
    expect(await linkFor(await setUpLinks(TRUSTING), headers)).toBe(link);
  });

  test('do not depend on what another caller sends', async () => {
    const headers = {
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'front.internal',
      forwarded: 'proto=https;host=front.internal',
    };
    expect(await linkFor(await setUpLinks(TRUSTING), headers, '127.0.0.1')).toBe('http://gate/a');
    expect(await linkFor(await setUpLinks({}), headers)).toBe('http://gate/a');
  });
});

describe('a trusted proxy', () => {
  test('that reports a host of another name is refused: a page may have its name rebound', async () => {
    const gateway = await setUpLinks({ ...TRUSTING, HEADGATE_HOSTS: 'gate.example.com' });
    for (const headers of [
      { 'x-forwarded-host': 'evil.example.com' },
      { 'x-forwarded-host': 'evil.example.com, gate.example.com' },
      { 'x-forwarded-host': '//evil' },
      { forwarded: 'host="evil.example.com"' },
    ]) {
      const refused = await ask(`${gateway.url}/a`, { headers, from: PROXY });
      expect(refused.status).toBe(403);
      expect(refused.headers['headgate-error']).toBe('foreign-host');
    }
    const headers = { 'x-forwarded-host': 'gate.example.com' };
    expect(await linkFor(gateway, headers)).toBe('http://gate.example.com/a');
  });

  test('makes a page over TLS one of the own origin, and one in cleartext another', async () => {
    const { api, gateway } = await setUpApi((_incoming, outgoing) => outgoing.end('ok'), {
      ...TRUSTING,
      HEADGATE_TOKEN: TOKEN,
    });
    const statusOf = async (origin: string, from: string): Promise<number> => {
      const headers = { host: 'gate', origin, 'x-forwarded-proto': 'https' };
      return (await ask(`${gateway.url}/a`, { headers, from })).status;
    };
    expect(await statusOf('https://gate', PROXY)).toBe(200);
    expect(await statusOf('http://gate', PROXY)).toBe(403);
    expect(await statusOf('https://gate', '127.0.0.1')).toBe(403);
    expect(await statusOf('http://gate', '127.0.0.1')).toBe(200);
    expect(api.seen).toHaveLength(2);
    // What proxies report about callers stays here.
    expect(api.seen[0]?.headers).not.toHaveProperty('x-forwarded-proto');
  });
});
