import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

/** An API that allows 10 operations a minute, of which each call takes as many as its list is long. */
async function startCostly(settings = '') {
  const limit = 10;
  let used = 0;
  const api = await startApi(async (incoming, outgoing) => {
    const cost = costOf(await text(incoming));
    const isAllowed = used + cost <= limit;
    if (isAllowed) used += cost;
    outgoing.writeHead(isAllowed ? 200 : 429, {
      'RateLimit-Limit': String(limit),
      'RateLimit-Remaining': String(limit - used),
      'RateLimit-Reset': '60',
    });
    outgoing.end('{}');
  });
  onTestFinished(() => api.close());
  const clock = new FakeClock();
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '10m' },
    files: { 'headgate.yaml': settings },
  });
  onTestFinished(() => gateway.stop());
  return { api, clock, gateway, refill: () => (used = 0) };
}

function costOf(body: string): number {
  const value: unknown = body === '' ? {} : JSON.parse(body);
  const urls = typeof value === 'object' && value !== null && 'urls' in value ? value.urls : [];
  return Array.isArray(urls) ? Math.max(1, urls.length) : 1;
}

function purge(urls: number, headers: Record<string, string> = {}) {
  const body = JSON.stringify({ urls: Array.from({ length: urls }, (_, i) => `/${i}`) });
  return { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers } };
}

const BODY_COST = 'classes:\n  - { name: all, cost: { body: /urls, else: 1 } }\n';

test('a request whose body costs more than is left waits for the refill, and is never refused', async () => {
  const { api, clock, gateway, refill } = await startCostly(BODY_COST);
  expect((await ask(`${gateway.url}/purge`, purge(6))).status).toBe(200);
  const waiting = ask(`${gateway.url}/purge`, purge(6));
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  expect(api.seen).toHaveLength(1);
  refill();
  clock.advance(62_000);
  expect((await waiting).status).toBe(200);
  expect(api.seen).toHaveLength(2);
});

test('the line of a call has its cost if that is more than one, however it is stated', async () => {
  const { gateway } = await startCostly(BODY_COST);
  await ask(`${gateway.url}/purge`, purge(3));
  await ask(`${gateway.url}/purge`, purge(2, { 'Headgate-Cost': '4' }));
  await ask(`${gateway.url}/purge`, purge(1));
  const lines = await gateway.log.wait('call', 3);
  expect(lines.map(({ cost }) => cost)).toEqual([3, 4, undefined]);
});

test('a caller states a cost in Headgate-Cost, which the API does not receive', async () => {
  const { api, gateway } = await startCostly();
  const stated = { 'Headgate-Cost': '6' };
  expect((await ask(`${gateway.url}/purge`, purge(6, stated))).status).toBe(200);
  void ask(`${gateway.url}/purge`, purge(6, stated));
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  expect(api.seen).toHaveLength(1);
  expect(api.seen[0]?.headers).not.toHaveProperty('headgate-cost');
});

test('a request that costs more than the limit is refused, and says so', async () => {
  const { gateway } = await startCostly(BODY_COST);
  expect((await ask(`${gateway.url}/purge`, purge(1))).status).toBe(200);
  const refused = await ask(`${gateway.url}/purge`, purge(11));
  expect(refused.status).toBe(400);
  expect(refused.headers['retry-after']).toBeUndefined();
  expect(JSON.parse(refused.text)).toMatchObject({
    code: 'cost-too-high',
    detail: "this request costs 11 operations, more than the API's limit of 10; split it",
  });
});

test.each(['0', '1.5', 'many', '10000000', '-1'])(
  'Headgate-Cost: %s is a 400 that says what was expected',
  async (cost) => {
    const { gateway } = await startCostly();
    const refused = await ask(`${gateway.url}/purge`, purge(1, { 'Headgate-Cost': cost }));
    expect(refused.status).toBe(400);
    expect(refused.text).toContain('expected a whole number from 1 to 1000000');
  },
);
