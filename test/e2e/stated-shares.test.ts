import { Agent } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const LIMIT = 40;
const PERIOD_MS = 60_000;
const KEYS = { deploy: 'key-of-the-deployment', nightly: 'key-of-the-nightly-job' };
const FILE = 'callers: [{ name: deploy, reserve: 20% }]';

test('a deployment has its share at any time, although a nightly job spent all else of the window', async () => {
  const clock = new FakeClock();
  const { azion, gateway } = await setUp(
    {
      semantics: 'fixed',
      limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
      dialect: { reset: 'delta-float' },
    },
    {
      clock,
      settings: {
        HEADGATE_CALLER_KEYS: `deploy=${KEYS.deploy},nightly=${KEYS.nightly}`,
        HEADGATE_MAX_WAIT: '1h',
        HEADGATE_SPREAD: 'off',
      },
      files: { 'headgate.yaml': FILE },
    },
  );
  const leave = new AbortController();
  const agent = new Agent({ maxSockets: Infinity });
  onTestFinished(() => leave.abort());
  const callAs = (caller: keyof typeof KEYS): ReturnType<typeof ask> => {
    const headers = { authorization: 'token shared', 'headgate-key': KEYS[caller] };
    const url = `${gateway.url}/domains?by=${caller}`;
    return ask(url, { headers, agent, signal: leave.signal });
  };
  const waiting = async (): Promise<number | undefined> => (await bucketsOf(gateway))[0]?.waiting;
  const seen = (caller: string): number =>
    azion.seen.filter(({ url }) => url.endsWith(`by=${caller}`)).length;
  /** Sends calls that need not be answered before the test ends. */
  const flood = (count: number): void => {
    for (let i = 0; i < count; i++) callAs('nightly').catch(() => undefined);
  };

  expect((await callAs('nightly')).status).toBe(200);
  flood(99);
  await until('the job has spent its part', async () => (await waiting()) === 100 - LIMIT * 0.8);
  expect(await bucketsOf(gateway)).toMatchObject([{ remaining: 8, kept: 8 }]);

  // The clock stands still until the deployment has its answers.
  clock.advance(50_000);
  for (let i = 0; i < 3; i++) {
    const answer = await callAs('deploy');
    expect(answer.status).toBe(200);
    expect(answer.headers['x-ratelimit-remaining']).toBe(String(7 - i));
  }
  expect(seen('nightly')).toBe(32);
  expect(await bucketsOf(gateway)).toMatchObject([{ remaining: 5, kept: 5, waiting: 68 }]);
  const calls = gateway.log.named('call').filter((line) => line['caller'] === 'deploy');
  expect(calls).toHaveLength(3);
  for (const line of calls) expect(line).toMatchObject({ waitMs: 0, fromReserve: true });

  // What the deployment did not use is released until the reset.
  const released = (): number =>
    gateway.log.named('call').filter((line) => line['waitedFor'] === 'reserve').length;
  expect(released()).toBe(0);
  clock.advance(4010);
  await until('an operation is released', () => released() === 1);
  clock.advance(4800);
  await until('all are released', () => seen('nightly') === 37);
  const { text } = await ask(`${gateway.adminUrl}/metrics`);
  expect(text).toContain('headgate_reserve_calls_total{end="used"} 3\n');

  // A reload ends the share.
  gateway.reload({ files: { 'headgate.yaml': 'callers: []' } });
  clock.advance(2000);
  await until('the next window is spent', () => seen('nightly') === 37 + LIMIT);
});
