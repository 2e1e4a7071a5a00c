import { expect, test } from 'vitest';
import { ok, setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';

const OVERRIDES = [
  ...['X-HTTP-Method-Override', 'DELETE', 'X-HTTP-Method', 'DELETE', 'X-Method-Override', 'DELETE'],
  ...['X-Original-URL', '/purge/wildcard', 'x-rewrite-url', '/purge/wildcard'],
  ...['X_Real_IP', '10.0.0.7', 'my_header', '1'],
];

async function namesAtApi(settings: Record<string, string>): Promise<string[]> {
  const { api, gateway } = await setUpApi(ok, settings);
  const answer = await ask(`${gateway.url}/domains`, { headers: OVERRIDES });
  expect(answer.status).toBe(200);
  const [seen] = api.seen;
  expect(seen).toMatchObject({ method: 'GET', url: '/domains' });
  const sent = new Set(OVERRIDES.map((name) => name.toLowerCase()));
  return Object.keys(seen?.headers ?? {}).filter((name) => sent.has(name));
}

test('headers that replace the method or the target do not reach the API', async () => {
  expect(await namesAtApi({})).toEqual([]);
});

test('HEADGATE_ALLOW_HEADERS lets those pass that it lists', async () => {
  const allowed = 'x-original-url, My_Header';
  expect(await namesAtApi({ HEADGATE_ALLOW_HEADERS: allowed })).toEqual([
    'x-original-url',
    'my_header',
  ]);
});
