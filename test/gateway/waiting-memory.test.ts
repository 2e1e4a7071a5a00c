import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { ok, setUpApi, setUpHeldApi, untilWaiting } from '../http/setup.ts';
import { requestBytes } from '../../src/gateway/connections/request-bytes.ts';

const LONG = { 'x-long': 'x'.repeat(15_000) };

test('headers of waiting requests are bounded together, and the flow that holds most pays', async () => {
  const { gateway, release } = await setUpHeldApi({ HEADGATE_BODY_MEMORY: '128KiB' });
  const send = (caller: string, headers: Record<string, string>): ReturnType<typeof ask> =>
    ask(`${gateway.url}/${caller}`, { headers: { 'headgate-caller': caller, ...headers } });
  const greedy = [];
  for (const count of [1, 2, 3, 4]) {
    greedy.push(send('greedy', LONG));
    await untilWaiting(gateway, count);
  }
  const modest = [1, 2, 3, 4, 5].map(() => send('modest', {}));
  const refused = await greedy.at(-1);
  expect(refused?.status).toBe(503);
  expect(refused?.headers['headgate-error']).toBe('body-memory-full');
  expect(refused?.headers['retry-after']).toBe('1');
  await untilWaiting(gateway, 8);
  release();
  for (const answer of await Promise.all([...greedy.slice(0, 3), ...modest])) {
    expect(answer.status).toBe(200);
  }
});

test('requests that are granted at once need no memory for waiting', async () => {
  const { gateway } = await setUpApi(ok, { HEADGATE_BODY_MEMORY: '0' });
  expect(await ask(`${gateway.url}/a`, { headers: LONG })).toMatchObject({ status: 200 });
});

test.each([
  ['one long header', ['X', 'x'.repeat(60_000)], 68_000, 90_000],
  ['many short headers', Array.from({ length: 8000 }, () => 'xy'), 500_000, 1_000_000],
])('%s counts as what it takes', (_name, rawHeaders, atLeast, atMost) => {
  const bytes = requestBytes({ rawHeaders, url: '/' });
  expect(bytes).toBeGreaterThan(atLeast);
  expect(bytes).toBeLessThan(atMost);
});
