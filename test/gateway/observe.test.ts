import { expect, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, type Setup } from '../support/setup.ts';

const LIMIT = 4;

function observe(settings: Record<string, string> = {}): Promise<Setup> {
  return setUp(
    { limits: { read: { limit: LIMIT, periodMs: 60_000 } } },
    { settings: { HEADGATE_MODE: 'observe', ...settings }, clock: new FakeClock() },
  );
}

/** Sends reads one after the other. */
async function read(
  { gateway }: Setup,
  count: number,
  headers: Record<string, string> = {},
): Promise<Answer[]> {
  const answers = [];
  for (let i = 0; i < count; i++) {
    const all = { authorization: 'token observed', ...headers };
    answers.push(await ask(`${gateway.url}/domains`, { headers: all }));
  }
  return answers;
}

test('nothing waits: the API answers each call at once, also with its 429s', async () => {
  const setup = await observe();
  const answers = await read(setup, LIMIT + 3);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429, 429, 429]);
  expect(setup.azion.seen).toHaveLength(LIMIT + 3);
  const lines = await setup.gateway.log.wait('call', LIMIT + 3);
  for (const line of lines) expect(line).toMatchObject({ outcome: 'answered', waitMs: 0 });
});

test('the log and the metrics say how long each call would have waited', async () => {
  const setup = await observe({ HEADGATE_MAX_WAIT: '10m' });
  await read(setup, LIMIT * 2 + 1);
  const lines = await setup.gateway.log.wait('call', LIMIT * 2 + 1);
  const waits = lines.map((line) => Number(line['wouldWaitMs']));
  expect(waits.slice(0, LIMIT)).toEqual([0, 0, 0, 0]);
  // The queue is kept, so the ninth call would wait for one window more than the fifth.
  expect(waits[LIMIT]).toBeGreaterThan(50_000);
  expect(Number(waits.at(-1)) - Number(waits[LIMIT])).toBeGreaterThan(50_000);
  const { text } = await ask(`${setup.gateway.adminUrl}/metrics`);
  expect(text).toContain(`headgate_would_wait_seconds_count ${LIMIT * 2 + 1}`);
});

test('a call that would have been shed is sent, and its line has the code', async () => {
  const setup = await observe();
  await read(setup, LIMIT);
  const [answer] = await read(setup, 1, { 'headgate-max-wait': '1s' });
  expect(answer?.status).toBe(429);
  const line = (await setup.gateway.log.wait('call', LIMIT + 1)).at(-1);
  expect(line).toMatchObject({ outcome: 'answered', wouldShed: 'wait-too-long' });
  const { text } = await ask(`${setup.gateway.adminUrl}/metrics`);
  expect(text).toContain('headgate_would_shed_total{code="wait-too-long"} 1');
  expect(text).toContain('headgate_sheds_total{code="wait-too-long"} 0');
});

test('budgets are known as usual', async () => {
  const setup = await observe();
  await read(setup, 1);
  expect(await bucketsOf(setup.gateway)).toMatchObject([{ limit: LIMIT, remaining: LIMIT - 1 }]);
});

test('a failed attempt is not repeated', async () => {
  const setup = await observe();
  const [answer] = await read(setup, 1, { 'x-sim-fault': 'reset-before-read' });
  expect(answer?.status).toBe(502);
  expect(await setup.gateway.log.wait('call', 1)).toMatchObject([{ attempts: 1 }]);
});
