import { describe, expect, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until, type Setup } from '../support/setup.ts';

const TOKEN = 'token shared';
const LIMITS = { read: { limit: 20, periodMs: 60_000 } };

/** A client with a timeout per attempt, which follows Retry-After. */
interface Client {
  readonly userAgent: string;
  readonly timeoutMs: number;
}

const HTTPX: Client = { userAgent: 'python-httpx/0.28.1', timeoutMs: 5000 };
const KY: Client = { userAgent: 'ky-like/1.14', timeoutMs: 10_000 };

interface Tally {
  succeeded: number;
  timedOut: number;
  refused: number;
}

async function attempt(
  clock: FakeClock,
  url: string,
  { userAgent, timeoutMs }: Client,
): Promise<Answer | 'timed out'> {
  const timeout = new AbortController();
  const timer = clock.after(timeoutMs, () => timeout.abort());
  const headers = { authorization: TOKEN, 'user-agent': userAgent };
  try {
    return await ask(`${url}/domains`, { headers, signal: timeout.signal });
  } catch {
    return 'timed out';
  } finally {
    timer.cancel();
  }
}

/** `count` calls of a client, one every half second; resolves when each has succeeded or timed out. */
async function burst(
  { gateway }: Setup,
  clock: FakeClock,
  client: Client,
  count = 60,
): Promise<Tally> {
  const tally: Tally = { succeeded: 0, timedOut: 0, refused: 0 };
  const before = gateway.log.count('call');
  let underWay = 0;
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.after(ms, resolve));
  const one = async (number: number): Promise<void> => {
    await sleep(number * 500);
    for (;;) {
      underWay++;
      const answer = await attempt(clock, gateway.url, client);
      underWay--;
      if (answer === 'timed out') return void tally.timedOut++;
      if (answer.status === 200) return void tally.succeeded++;
      expect([answer.status, answer.headers['headgate-error']]).toEqual([503, 'wait-too-long']);
      tally.refused++;
      await sleep(Number(answer.headers['retry-after']) * 1000);
    }
  };
  const calls = Promise.all(Array.from({ length: count }, (_, number) => one(number)));
  /** Whether each attempt waits for the budget, or has ended for the gateway as well. */
  const isStill = async (): Promise<boolean> => {
    const ended = tally.succeeded + tally.timedOut + tally.refused;
    if (gateway.log.count('call') - before < ended) return false;
    const still = underWay;
    const [bucket] = await bucketsOf(gateway);
    return still === (bucket?.waiting ?? 0) && still === underWay;
  };
  while (tally.succeeded + tally.timedOut < count) {
    await until('no attempt can move', isStill, { everyMs: 0 });
    clock.advance(250);
  }
  await calls;
  await until('the gateway has logged all attempts', isStill, { everyMs: 0 });
  return tally;
}

describe('calls of a client that gives up early', () => {
  test.each([HTTPX, KY])('time out where nothing is learned: $userAgent', async (client) => {
    const clock = new FakeClock();
    const settings = { HEADGATE_PATIENCE: 'off' };
    const setup = await setUp({ semantics: 'fixed', limits: LIMITS }, { clock, settings });
    const tally = await burst(setup, clock, client);
    expect(tally).toEqual({ succeeded: 20, timedOut: 40, refused: 0 });
    expect(setup.gateway.log.count('patience learned')).toBe(0);
  });

  test.each([HTTPX, KY])('all succeed once it is learned: $userAgent', async (client) => {
    const clock = new FakeClock();
    const setup = await setUp({ semantics: 'fixed', limits: LIMITS }, { clock });
    const { gateway, azion } = setup;
    await burst(setup, clock, client);
    const [caller = ''] = client.userAgent.split('/');
    const learned = await gateway.log.first('patience learned');
    expect(learned).toMatchObject({ caller, userAgent: caller });
    expect(learned['patienceMs']).toBe(client.timeoutMs);

    clock.advance(120_000);
    const later = await burst(setup, clock, client);
    expect(later).toMatchObject({ succeeded: 60, timedOut: 0 });
    expect(later.refused).toBeGreaterThan(0);
    expect(azion.throttled).toBe(0);
    const shed = gateway.log.named('call').findLast(({ outcome }) => outcome === 'shed');
    expect(shed).toMatchObject({ code: 'wait-too-long', patienceMs: client.timeoutMs });
    const { text } = await ask(`${gateway.adminUrl}/metrics`);
    const [, sheds] = /^headgate_patience_sheds_total (\d+)$/m.exec(text) ?? [];
    expect(Number(sheds)).toBeGreaterThanOrEqual(later.refused);
    // Another client still waits as long as it is configured.
    clock.advance(120_000);
    const lines = gateway.log.count('call');
    const other = await burst(setup, clock, { userAgent: 'curl/8.11', timeoutMs: 200_000 });
    expect(other).toEqual({ succeeded: 60, timedOut: 0, refused: 0 });
    for (const line of gateway.log.named('call').slice(lines)) {
      expect(line).not.toHaveProperty('patienceMs');
    }
  });
});
