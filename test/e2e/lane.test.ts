import { expect, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { AdjustableClock } from '../support/adjustable-clock.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const HEADERS = { authorization: 'token shared' };
const API = {
  semantics: 'fixed',
  limits: { read: { limit: 4, periodMs: 60_000 } },
  dialect: { reset: 'delta-float' },
} as const;

test('of what a reset releases, no more than the lane allows is out at once', async () => {
  const clock = new AdjustableClock();
  const settings = { HEADGATE_LANE_CONCURRENCY: '2', HEADGATE_MAX_WAIT: '10m' };
  let out = 0;
  let most = 0;
  const latencyMs = (): number => {
    most = Math.max(most, ++out);
    setTimeout(() => out--, 20);
    return 25;
  };
  const { azion, gateway } = await setUp({ ...API, latencyMs }, { settings, clock });
  const get = (): Promise<Answer> => ask(`${gateway.url}/domains`, { headers: HEADERS });
  await askMany(4, get);
  const waiting = askMany(4, get);
  await until('4 wait', async () => (await bucketsOf(gateway))[0]?.waiting === 4);
  most = 0;
  clock.advance(61_000);
  expect((await waiting).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(most).toBeLessThanOrEqual(2);
  expect(azion.throttled).toBe(0);
});

test('a request that the lane held so long that its slot counts as spent asks for another', async () => {
  const clock = new AdjustableClock();
  const settings = { HEADGATE_LANE_CONCURRENCY: '1', HEADGATE_MAX_WAIT: '10m' };
  const { azion, gateway } = await setUp(API, { settings, clock });
  const get = (): Promise<Answer> => ask(`${gateway.url}/domains`, { headers: HEADERS });
  await askMany(4, get);
  const waiting = askMany(3, get);
  await until('3 wait', async () => (await bucketsOf(gateway))[0]?.waiting === 3);
  // The canary opens the window; the one after it keeps the lane from the third.
  azion.failNext('delay:0');
  azion.failNext('delay:400');
  clock.advance(61_000);
  await until('the slow one is out', () => azion.seen.length === 6);
  await until('the third has its grant', async () => (await bucketsOf(gateway))[0]?.waiting === 0);
  clock.advance(6000);
  expect((await waiting).map(({ status }) => status)).toEqual([200, 200, 200]);
  // It was sent once, with a grant that was fresh.
  expect(azion.seen).toHaveLength(7);
  const lines = await gateway.log.wait('call', 7);
  expect(lines.map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1, 1, 1, 1]);
  expect((await bucketsOf(gateway))[0]).toMatchObject({ leases: 0, waiting: 0, remaining: 1 });
});

test('what waited for a socket alone does not go through the lane', async () => {
  const settings = { HEADGATE_UPSTREAM_CONNECTIONS: '2', HEADGATE_LANE_INTERVAL: '10m' };
  const plenty = { ...API, limits: { read: { limit: 100, periodMs: 60_000 } }, latencyMs: () => 5 };
  const { azion, gateway } = await setUp(plenty, { settings });
  const get = (): Promise<Answer> => ask(`${gateway.url}/domains`, { headers: HEADERS });
  // The rest of an unknown bucket waits for what this one is told, and so for the budget.
  await get();
  const answers = await askMany(12, get);
  expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
  expect(azion.throttled).toBe(0);
});
