import { describe, expect, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { bucketsOf } from '../support/setup.ts';

const PAGE = { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' };
const PREFLIGHT = { ...PAGE, 'access-control-request-method': 'PUT' };

/** An API with a limit of one call a minute, which does not count preflights. */
async function setUpEmpty(settings: Record<string, string> = {}, preflightStatus = 204) {
  return setUpApi(
    (incoming, outgoing) => {
      if (incoming.method === 'OPTIONS') {
        outgoing.writeHead(preflightStatus, { 'access-control-allow-origin': '*' }).end();
        return;
      }
      const headers = { 'x-ratelimit-limit': '1', 'x-ratelimit-remaining': '0' };
      outgoing.writeHead(200, { ...headers, 'x-ratelimit-reset': '60' }).end('ok');
    },
    { HEADGATE_PRESET: 'none', ...settings },
  );
}

describe('a refusal of the gateway', () => {
  const headers = { ...PAGE, authorization: 'token mine', 'headgate-max-wait': '1s' };

  test('can be read by the page that caused it', async () => {
    const { gateway } = await setUpEmpty();
    await ask(`${gateway.url}/a`, { headers });
    const refused = await ask(`${gateway.url}/a`, { headers });
    expect(refused).toMatchObject({
      status: 503,
      headers: {
        'access-control-allow-origin': PAGE.origin,
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': expect.stringContaining('Retry-After'),
        vary: 'Origin',
      },
    });
    const { origin: _origin, ...service } = headers;
    const plain = await ask(`${gateway.url}/a`, { headers: service });
    expect(plain.headers).not.toHaveProperty('access-control-allow-origin');
    expect(plain.headers).not.toHaveProperty('vary');
  });

  test.each([
    ['that may not use the token', {}, 'cross-site'],
    ['of a foreign host', { host: 'evil.example', authorization: 'token mine' }, 'foreign-host'],
  ])('cannot be read by a page %s', async (_name, more, code) => {
    const { gateway } = await setUpEmpty({ HEADGATE_TOKEN: 'own' });
    const refused = await ask(`${gateway.url}/a`, { headers: { ...PAGE, ...more } });
    expect(refused.headers['headgate-error']).toBe(code);
    expect(refused.headers).not.toHaveProperty('access-control-allow-origin');
  });
});

describe('a preflight', () => {
  test('neither waits for a budget nor spends one', async () => {
    const { api, gateway } = await setUpEmpty({ HEADGATE_BUDGET_PER: 'upstream' });
    await ask(`${gateway.url}/a`);
    const before = await bucketsOf(gateway);
    const preflight = await ask(`${gateway.url}/a`, { method: 'OPTIONS', headers: PREFLIGHT });
    expect(preflight).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-origin': '*' },
    });
    expect(api.seen.at(-1)).toMatchObject({ method: 'OPTIONS' });
    const [bucket] = await bucketsOf(gateway);
    expect(bucket).toMatchObject({ remaining: before[0]?.remaining, leases: 0, waiting: 0 });
  });

  test('that the API refuses is not repeated', async () => {
    const { api, gateway } = await setUpEmpty({}, 429);
    const preflight = await ask(`${gateway.url}/a`, { method: 'OPTIONS', headers: PREFLIGHT });
    expect(preflight.status).toBe(429);
    expect(api.seen.length).toBe(1);
  });

  test('is no other OPTIONS', async () => {
    const { gateway } = await setUpEmpty();
    await ask(`${gateway.url}/a`, { method: 'OPTIONS' });
    expect(await bucketsOf(gateway)).toHaveLength(1);
  });
});

test('the headers of another gateway behind this one are not passed on', async () => {
  const { gateway } = await setUpApi((_incoming, outgoing) => {
    outgoing.writeHead(200, { 'headgate-error': 'queue-full', 'Headgate-Request-Id': 'other' });
    outgoing.end('ok');
  });
  const { headers } = await ask(`${gateway.url}/a`);
  const [line] = await gateway.log.wait('call', 1);
  expect(headers).not.toHaveProperty('headgate-error');
  expect(headers['headgate-request-id']).toBe(line?.['id']);
});
