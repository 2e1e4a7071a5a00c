import { Agent } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import type { Azion } from '../support/azion.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until, type Setup } from '../support/setup.ts';

const TOKEN = 'token shared';
/** One socket to the API, so that calls reach it in the order of their grants. */
const ONE_SOCKET = { HEADGATE_UPSTREAM_CONNECTIONS: '1' };

/** Sends calls; those that still wait are aborted when the test ends. */
function makeCallers(gatewayUrl: string): {
  readonly send: (
    caller: string,
    count: number,
    options?: { from?: string; priority?: string },
  ) => void;
} {
  const leave = new AbortController();
  const agent = new Agent({ maxSockets: Infinity });
  onTestFinished(() => leave.abort());
  return {
    send(caller, count, { from = '127.0.0.1', priority = 'normal' } = {}) {
      for (let i = 0; i < count; i++) {
        const name = caller.replace('*', String(i));
        const headers = {
          authorization: TOKEN,
          'headgate-caller': name,
          'headgate-priority': priority,
        };
        const url = `${gatewayUrl}/domains?by=${caller.replace('*', '')}`;
        // It may be aborted; the test looks at the calls that the API received.
        ask(url, { headers, from, agent, signal: leave.signal }).catch(() => undefined);
      }
    },
  };
}

const PERIOD_MS = 60_000;

interface Empty extends Setup {
  readonly clock: FakeClock;
  /** Lets the window end: the API accepts `grants` calls again. */
  readonly refill: () => void;
}

/**
 * Starts a gateway whose budget is spent, so that calls wait. Without a reserve, the order alone decides
 * which calls reach the API.
 */
async function emptyBucket(grants: number, spread = 'off'): Promise<Empty> {
  const clock = new FakeClock();
  const { azion, gateway } = await setUp(
    {
      semantics: 'fixed',
      limits: { read: { limit: grants, periodMs: PERIOD_MS } },
      dialect: { reset: 'delta-float' },
    },
    { settings: { ...ONE_SOCKET, HEADGATE_MAX_WAIT: '1h', HEADGATE_SPREAD: spread }, clock },
  );
  azion.consume(TOKEN, 'read', grants - 1);
  const first = await ask(`${gateway.url}/domains?by=opener`, {
    headers: { authorization: TOKEN },
  });
  expect(first.headers['x-ratelimit-remaining']).toBe('0');
  return { azion, gateway, clock, refill: () => clock.advance(PERIOD_MS) };
}

async function untilWaiting(gateway: Setup['gateway'], count: number): Promise<void> {
  await until(`${count} wait`, async () => {
    const [bucket] = await bucketsOf(gateway);
    return bucket?.waiting === count;
  });
}

/** The callers in the order in which the API served them after the opener, once there are `count`. */
async function servedAfterOpening(azion: Azion, count: number): Promise<string[]> {
  const served = (): string[] =>
    azion.seen.slice(1).map(({ url }) => new URL(url, azion.url).searchParams.get('by') ?? '');
  await until(`${count} were served`, () => served().length >= count);
  return served();
}

test.each([
  ['another host', '127.0.0.2', 0],
  // A new name starts behind the names that its host used before.
  ['the same host', '127.0.0.1', 1],
])(
  'a caller with 1,000 waiting delays another of %s by at most one of its own per grant',
  async (_where, from, atFirst) => {
    const { azion, gateway, refill } = await emptyBucket(60);
    const callers = makeCallers(gateway.url);
    callers.send('hog', 1000);
    await untilWaiting(gateway, 1000);
    callers.send('guest', 20, { from });
    await untilWaiting(gateway, 1020);
    refill();
    const order = await servedAfterOpening(azion, 60);
    const until20th = order.slice(0, order.lastIndexOf('guest') + 1);
    expect(order.filter((by) => by === 'guest')).toHaveLength(20);
    expect(until20th.length).toBeLessThanOrEqual(40 + atFirst);
    expect(until20th.slice(atFirst).join(' ')).not.toContain('hog hog');
  },
);

test('callers with different numbers of calls get equal shares while all of them wait', async () => {
  const { azion, gateway, refill } = await emptyBucket(100);
  const callers = makeCallers(gateway.url);
  const wanted = { a: 300, b: 120, c: 80, d: 50, e: 30 };
  for (const [index, [caller, count]] of Object.entries(wanted).entries()) {
    callers.send(caller, count, { from: `127.0.0.${index + 2}` });
  }
  await untilWaiting(gateway, 580);
  refill();
  const order = await servedAfterOpening(azion, 100);
  for (const caller of Object.keys(wanted)) {
    // A hundred grants for five callers: twenty each, exactly.
    expect(order.slice(0, 100).filter((by) => by === caller)).toHaveLength(20);
  }
});

test('a caller that uses a new name for each request gets no more than its share', async () => {
  const { azion, gateway, refill } = await emptyBucket(100);
  const callers = makeCallers(gateway.url);
  callers.send('inventor-*', 300, { from: '127.0.0.2' });
  await untilWaiting(gateway, 300);
  callers.send('honest', 100, { from: '127.0.0.3' });
  await untilWaiting(gateway, 400);
  refill();
  const order = await servedAfterOpening(azion, 100);
  expect(order.slice(0, 100).filter((by) => by === 'honest').length).toBeGreaterThanOrEqual(49);
});

test('300 calls of low priority delay one of high priority by at most one grant', async () => {
  const { azion, gateway, refill } = await emptyBucket(40);
  const callers = makeCallers(gateway.url);
  callers.send('nightly', 300, { priority: 'low' });
  await untilWaiting(gateway, 300);
  callers.send('person', 1, { priority: 'high' });
  await untilWaiting(gateway, 301);
  refill();
  const order = await servedAfterOpening(azion, 40);
  expect(order.indexOf('person')).toBeLessThanOrEqual(1);
  expect(order).toContain('nightly');
});

test('a person is let in at once, although a nightly job spent all but the reserve of the window', async () => {
  const { azion, gateway, clock, refill } = await emptyBucket(40, 'auto');
  const callers = makeCallers(gateway.url);
  // The opener, of this host, is known as one that uses little.
  callers.send('nightly', 100, { from: '127.0.0.2', priority: 'low' });
  await untilWaiting(gateway, 100);
  refill();
  await untilWaiting(gateway, 100 - 33);
  expect(await servedAfterOpening(azion, 33)).toHaveLength(33);
  // The clock stands still until the person has its answer.
  const answer = await ask(`${gateway.url}/domains?by=person`, {
    headers: { authorization: TOKEN },
  });
  expect(answer.status).toBe(200);
  expect(answer.headers['x-ratelimit-remaining']).toBe('6');
  expect((await servedAfterOpening(azion, 34)).at(-1)).toBe('person');

  // What was kept, who used it, and who waited for it is seen.
  expect(await bucketsOf(gateway)).toMatchObject([{ remaining: 6, kept: 6 }]);
  const released = (): number =>
    gateway.log.named('call').filter((line) => line['waitedFor'] === 'reserve').length;
  expect(released()).toBe(0);
  clock.advance(PERIOD_MS / 3);
  await until('an operation is released', () => released() === 1);
  const personLine = gateway.log.named('call').find((line) => line['fromReserve'] === true);
  expect(personLine).toMatchObject({ query: 'by=person', waitMs: 0 });
  const { text } = await ask(`${gateway.adminUrl}/metrics`);
  expect(text).toMatch(/^headgate_bucket_kept\{.*\} 5$/m);
  expect(text).toContain('headgate_reserve_calls_total{end="used"} 1\n');
  expect(text).toContain('headgate_reserve_calls_total{end="released"} 1\n');
});
