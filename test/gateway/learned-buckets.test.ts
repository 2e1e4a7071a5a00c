import { describe, expect, onTestFinished, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { azionWorld, discordWorld, githubWorld, slackWorld } from '../support/limit-worlds.ts';
import { reportTriple } from '../support/limit-reports.ts';
import { startLimitedApi } from '../support/limited-api.ts';
import { advanceUntil, bucketsOf, until } from '../support/setup.ts';
import type { MeterOptions } from '../support/several-limits.ts';

const MINUTE_MS = 60_000;

/** A gateway that knows nothing of the API: it has neither classes nor limits. */
async function startUnknown(world: MeterOptions, file = '{}', latencyMs = () => 0) {
  const clock = new FakeClock();
  const api = await startLimitedApi(world, { clock, latencyMs });
  onTestFinished(() => api.close());
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '2h' },
    files: { 'headgate.yaml': file },
  });
  onTestFinished(() => gateway.stop());
  const send = (path: string, method = 'GET'): Promise<number> =>
    ask(`${gateway.url}${path}`, { method }).then(({ status }) => status);
  return {
    api,
    clock,
    gateway,
    send,
    refused: () => api.calls.filter(({ status }) => status === 429).length,
    waitingIn: async () =>
      (await bucketsOf(gateway)).filter(({ waiting }) => waiting > 0).map(({ id }) => id),
    /** How many requests wait, whatever bucket they wait for. */
    waiting: async () => (await bucketsOf(gateway)).reduce((sum, one) => sum + one.waiting, 0),
  };
}

test('a refusal that teaches a route closes no stated limit beside it', async () => {
  const { gateway, send, waitingIn } = await startUnknown(
    slackWorld({
      tier2: { limit: 2, periodMs: MINUTE_MS },
      tier3: { limit: 30, periodMs: MINUTE_MS },
    }),
    'limits: [{ name: global, limit: 500/1m, scope: api }]',
  );
  await send('/api/chat.postMessage', 'POST');
  const listed = Array.from({ length: 6 }, () => send('/api/users.list').catch(() => 0));
  await until('they wait', async () => (await waitingIn()).length > 0);
  expect(await send('/api/chat.postMessage', 'POST')).toBe(200);
  const global = (await bucketsOf(gateway)).find(({ id }) => id === 'upstream:global');
  expect(global).toMatchObject({ waiting: 0 });
  expect(global).not.toHaveProperty('blockedForMs');
  await gateway.stop();
  await Promise.all(listed);
});

test('requests that wait when their bucket is learned wait for it from then on', async () => {
  let latencyMs = 0;
  const { api, clock, gateway, send } = await startUnknown(
    githubWorld({
      core: { limit: 10, periodMs: 60 * MINUTE_MS },
      search: { limit: 30, periodMs: MINUTE_MS },
    }),
    '{}',
    () => latencyMs,
  );
  for (let i = 0; i < 9; i++) await send('/repos/a/b');
  latencyMs = 1000;
  // It has the last operation of the only bucket, which the core's request then spends.
  const first = send('/search/issues');
  await until('the API has it', () => api.delayed === 1);
  const core = send('/repos/a/b');
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  const others = Array.from({ length: 4 }, () => send('/search/issues'));
  await until('they wait', async () => (await bucketsOf(gateway))[0]?.waiting === 5);
  latencyMs = 0;
  clock.advance(1000);
  expect(await Promise.all([first, core])).toEqual([200, 200]);
  const before = clock.now();
  const statuses = await advanceUntil({ clock, gateway }, Promise.all(others));
  expect(statuses).toEqual([200, 200, 200, 200]);
  // Long before the core's hour is over.
  expect(clock.now() - before).toBeLessThan(MINUTE_MS);
});

test('requests that wait for the first answer spend from all the buckets that it reports', async () => {
  const clock = new FakeClock();
  const held: (() => void)[] = [];
  let tokens = 1000;
  const { api, gateway } = await setUpApi(
    (incoming, outgoing) => {
      incoming.resume();
      const isTaken = tokens >= 250;
      if (isTaken) tokens -= 250;
      outgoing.statusCode = isTaken ? 200 : 429;
      const reported = { requests: [500, 490], tokens: [1000, tokens] };
      for (const [name, [limit, remaining]] of Object.entries(reported)) {
        outgoing.setHeader(`X-RateLimit-Limit-${name}`, String(limit));
        outgoing.setHeader(`X-RateLimit-Remaining-${name}`, String(remaining));
        outgoing.setHeader(`X-RateLimit-Reset-${name}`, '60s');
      }
      if (api.seen.length === 1) held.push(() => outgoing.end('{}'));
      else outgoing.end('{}');
    },
    { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '2h' },
    { clock },
  );
  const sent = Array.from({ length: 9 }, () => ask(`${gateway.url}/chat`).catch(() => undefined));
  await until('they wait', async () => (await bucketsOf(gateway))[0]?.waiting === 8);
  held[0]?.();
  await until('the tokens are used up', () => tokens === 0);
  await until('the others wait', async () => {
    return (await bucketsOf(gateway)).reduce((sum, { waiting }) => sum + waiting, 0) === 5;
  });
  expect(gateway.log.count('throttled')).toBe(0);
  expect(api.seen).toHaveLength(4);
  await gateway.stop();
  await Promise.all(sent);
});

describe('without any class,', () => {
  test('an API with one budget teaches nothing that operators would have to read', async () => {
    const { gateway, send } = await startUnknown({
      limits: [{ name: 'all', limit: 10, periodMs: MINUTE_MS }],
      report: reportTriple({ reset: 'epoch-ceil' }),
    });
    for (let i = 0; i < 3; i++) await send('/zones');
    const buckets = await bucketsOf(gateway);
    expect(buckets).toHaveLength(1);
    expect(buckets[0]).not.toHaveProperty('learned');
  });

  test("GitHub's search waits for its own budget, and core requests do not", async () => {
    const { api, clock, gateway, send, refused, waiting, waitingIn } = await startUnknown(
      githubWorld({
        core: { limit: 100, periodMs: 60 * MINUTE_MS },
        search: { limit: 3, periodMs: MINUTE_MS },
      }),
    );
    for (let i = 0; i < 3; i++) await send('/repos/a/b');
    for (let i = 0; i < 3; i++) await send('/search/issues');
    const searches = [send('/search/issues'), send('/search/code')];
    await until('they wait', async () => (await waiting()) === 2);
    for (let i = 0; i < 5; i++) expect(await send('/repos/a/b')).toBe(200);
    expect(await waitingIn()).toEqual([expect.stringMatching(/:all~search$/)]);
    clock.advance(MINUTE_MS);
    expect(await advanceUntil({ clock, gateway }, Promise.all(searches))).toEqual([200, 200]);
    // The first request to /search/code, of which nothing was known.
    expect(refused()).toBe(1);
    expect(api.calls).toHaveLength(14);
  });

  test("Discord's channels do not wait for each other", async () => {
    const { clock, gateway, send, refused, waiting } = await startUnknown(
      discordWorld({ route: { limit: 3, periodMs: 5000 } }),
      'limits: [{ name: global, limit: 50/1s, scope: credential }]',
    );
    const channel = (id: number): string => `/channels/10000000000000000${id}/messages`;
    let answered = 0;
    const sent: Promise<unknown>[] = [];
    for (let i = 0; i < 24; i++) {
      sent.push(send(channel(1 + (i % 3)), 'POST').then(() => answered++));
      await until('each is answered or waits', async () => {
        return answered + (await waiting()) === sent.length;
      });
      clock.advance(1000);
    }
    await advanceUntil({ clock, gateway }, Promise.all(sent));
    clock.advance(6000);
    for (let i = 0; i < 3; i++) expect(await send(channel(1), 'POST')).toBe(200);
    const fourth = send(channel(1), 'POST');
    await until('it waits', async () => (await waiting()) === 1);
    expect(await send(channel(2), 'POST')).toBe(200);
    expect(await advanceUntil({ clock, gateway }, fourth)).toBe(200);
    expect(refused()).toBeLessThanOrEqual(3);
  });

  test("Slack's methods do not wait for each other", async () => {
    const { clock, send, refused, waitingIn } = await startUnknown(
      slackWorld({
        tier2: { limit: 2, periodMs: MINUTE_MS },
        tier3: { limit: 30, periodMs: MINUTE_MS },
      }),
    );
    await send('/api/chat.postMessage', 'POST');
    await send('/api/users.list');
    await send('/api/users.list');
    const waiting = send('/api/users.list');
    await until('it waits', async () => (await waitingIn()).length > 0);
    for (let i = 0; i < 5; i++) expect(await send('/api/chat.postMessage', 'POST')).toBe(200);
    clock.advance(MINUTE_MS + 2000);
    expect(await waiting).toBe(200);
    expect(refused()).toBeLessThanOrEqual(3);
  });

  test("Azion's writes wait for their own budget, and reads do not", async () => {
    const { clock, gateway, send, refused, waitingIn } = await startUnknown(
      azionWorld({
        reads: { limit: 40, periodMs: MINUTE_MS },
        writes: { limit: 10, periodMs: MINUTE_MS },
      }),
    );
    for (let i = 0; i < 6; i++) {
      await send('/domains');
      await send('/domains', 'POST');
    }
    const writes = Array.from({ length: 8 }, () => send('/domains', 'POST'));
    await until('they wait', async () => (await waitingIn()).length > 0);
    for (let i = 0; i < 5; i++) expect(await send('/domains')).toBe(200);
    const statuses = await advanceUntil({ clock, gateway }, Promise.all(writes));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(refused()).toBeLessThanOrEqual(3);
  });
});
