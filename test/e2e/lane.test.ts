import { expect, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until, type Setup } from '../support/setup.ts';

const HEADERS = { authorization: 'token shared' };
const API = {
  semantics: 'fixed',
  limits: { read: { limit: 4, periodMs: 60_000 } },
  dialect: { reset: 'delta-float' },
} as const;

const LANE = { HEADGATE_MAX_WAIT: '10m' };

function get({ gateway }: Setup): Promise<Answer> {
  return ask(`${gateway.url}/domains`, { headers: HEADERS });
}

async function untilWaiting({ gateway }: Setup, count: number): Promise<void> {
  const waiting = async (): Promise<number> => (await bucketsOf(gateway))[0]?.waiting ?? 0;
  await until(`${count} wait for the budget`, async () => (await waiting()) === count);
}

async function untilInLane({ gateway }: Setup, count: number): Promise<void> {
  await until(`${count} wait in the lane`, async () => {
    const { text } = await ask(`${gateway.adminUrl}/metrics`);
    return text.includes(`headgate_lane_queued ${count}\n`);
  });
}

test('after a reset, the lane bounds the number of requests in flight', async () => {
  const clock = new FakeClock();
  let latencyMs = 0;
  let inFlight = 0;
  let most = 0;
  const setup = await setUp(
    {
      ...API,
      latencyMs() {
        if (latencyMs === 0) return 0;
        most = Math.max(most, ++inFlight);
        clock.after(latencyMs, () => inFlight--);
        return latencyMs;
      },
    },
    { settings: { ...LANE, HEADGATE_LANE_CONCURRENCY: '2' }, clock },
  );
  await askMany(4, () => get(setup));
  const answers = askMany(4, () => get(setup));
  await untilWaiting(setup, 4);
  latencyMs = 25;
  clock.advance(61_000);
  await until('the canary is in flight', () => inFlight === 1);
  clock.advance(latencyMs);
  await until('the lane is full', () => inFlight === 2);
  await untilInLane(setup, 1);
  clock.advance(latencyMs);
  await until('the last one is in flight', () => inFlight === 1);
  clock.advance(latencyMs);
  expect((await answers).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(most).toBe(2);
  expect(setup.azion.throttled).toBe(0);
});

test('a request whose slot counts as spent while it waits in the lane requests another grant', async () => {
  const clock = new FakeClock();
  const settings = { ...LANE, HEADGATE_LANE_CONCURRENCY: '1' };
  const setup = await setUp(API, { settings, clock });
  const { azion, gateway } = setup;
  await askMany(4, () => get(setup));
  const answers = askMany(3, () => get(setup));
  await untilWaiting(setup, 3);
  // The canary is answered at once. The second call keeps the third one in the lane.
  azion.failNext('delay:0');
  azion.failNext('delay:400');
  clock.advance(61_000);
  await until('the slow call is in flight', () => azion.seen.length === 6);
  await untilWaiting(setup, 0);
  clock.advance(6000);
  expect((await answers).map(({ status }) => status)).toEqual([200, 200, 200]);
  // The third one was sent once, with a new grant.
  expect(azion.seen).toHaveLength(7);
  const lines = await gateway.log.wait('call', 7);
  expect(lines.map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1, 1, 1, 1]);
  expect((await bucketsOf(gateway))[0]).toMatchObject({ leases: 0, waiting: 0, remaining: 1 });
});

test('requests that wait for a socket alone do not pass through the lane', async () => {
  const settings = { HEADGATE_UPSTREAM_CONNECTIONS: '2', HEADGATE_LANE_INTERVAL: '10m' };
  const limits = { read: { limit: 100, periodMs: 3_600_000 } };
  const plenty = { ...API, limits, latencyMs: () => 5 };
  const setup = await setUp(plenty, { settings });
  // The others wait for the answer to the first request of an unknown bucket, so for the budget.
  await get(setup);
  const answers = await askMany(12, () => get(setup));
  expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
  expect(setup.azion.throttled).toBe(0);
});
