import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { advanceUntil, bucketsOf, until, untilStill } from '../support/setup.ts';

const MINUTE_MS = 60_000;

/** An API whose answers have these headers; by default it says nothing of its limits. */
async function startLimited(
  file: string,
  headers: (url: string, body: string) => Record<string, string> = () => ({}),
  status: (url: string) => number = () => 200,
  settings: Readonly<Record<string, string>> = {},
) {
  const api = await startApi(async (incoming, outgoing) => {
    const url = incoming.url ?? '';
    outgoing.writeHead(status(url), headers(url, await text(incoming)));
    outgoing.end('{}');
  });
  onTestFinished(() => api.close());
  const clock = new FakeClock();
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '2h', ...settings },
    files: { 'headgate.yaml': file },
  });
  onTestFinished(() => gateway.stop());
  const bucket = async (end: string) =>
    (await bucketsOf(gateway)).find(({ id }) => id.endsWith(end));
  return { api, clock, gateway, bucket };
}

const PURGE = `
classes:
  - name: purge
    methods: [POST]
    path: /purge/*
    limits:
      - 4/1m
      - { name: objects, limit: 20/1m, cost: { body: /urls, count: true, else: 5 } }
limits:
  - { name: global, limit: 6/1h }
`;

function purge(urls: number) {
  const body = JSON.stringify({ urls: Array.from({ length: urls }, (_, i) => `/${i}`) });
  return { method: 'POST', body, headers: { 'Content-Type': 'application/json' } };
}

describe('stated limits of an API that reports none', () => {
  test('each count what they state, and the scarcest decides', async () => {
    const { api, clock, gateway, bucket } = await startLimited(PURGE);
    expect((await ask(`${gateway.url}/purge/url`, purge(12))).status).toBe(200);
    // Eight objects are left, so it waits for the objects, and holds one of the requests.
    const waiting = ask(`${gateway.url}/purge/url`, purge(12));
    await until('it waits', async () => (await bucket(':purge/objects'))?.waiting === 1);
    expect(await bucket(':purge')).toMatchObject({ limit: 4, leases: 1 });
    expect(await bucket(':global')).toMatchObject({ limit: 6 });
    expect(api.seen).toHaveLength(1);
    clock.advance(MINUTE_MS);
    expect((await waiting).status).toBe(200);
    expect((await gateway.log.wait('call', 2))[1]).toMatchObject({
      class: 'purge',
      bucket: expect.stringMatching(/:purge\/objects$/),
      limit: 20,
    });
  });

  test('refuse a request that costs more than one of them allows, and say how much', async () => {
    const { api, gateway, bucket } = await startLimited(PURGE);
    const answer = await ask(`${gateway.url}/purge/url`, purge(25));
    expect(JSON.parse(answer.text)).toMatchObject({
      code: 'cost-too-high',
      detail: expect.stringContaining('costs 25 operations'),
    });
    expect(api.seen).toHaveLength(0);
    expect(await bucket(':purge')).toMatchObject({ leases: 0 });
    expect(await gateway.log.wait('call', 1)).toMatchObject([
      { code: 'cost-too-high', bucket: expect.stringMatching(/:purge\/objects$/), limit: 20 },
    ]);
  });

  test('count what the caller states in the bucket whose cost varies', async () => {
    const { gateway, bucket } = await startLimited(PURGE);
    const { headers, ...rest } = purge(12);
    const stated = { ...rest, headers: { ...headers, 'Headgate-Cost': '7' } };
    expect((await ask(`${gateway.url}/purge/url`, stated)).status).toBe(200);
    expect(await bucket(':purge/objects')).toMatchObject({ limit: 20, remaining: 13 });
    expect(await bucket(':purge')).toMatchObject({ limit: 4, remaining: 3 });
    expect(await bucket(':global')).toMatchObject({ limit: 6, remaining: 5 });
  });

  test('shed a request by the one that takes too long, which the log names', async () => {
    const { api, gateway, bucket } = await startLimited(PURGE);
    await ask(`${gateway.url}/purge/url`, purge(12));
    const { headers, ...rest } = purge(12);
    const hasty = { ...rest, headers: { ...headers, 'Headgate-Max-Wait': '5s' } };
    const answer = await ask(`${gateway.url}/purge/url`, hasty);
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'wait-too-long' });
    expect((await gateway.log.wait('call', 2))[1]).toMatchObject({
      code: 'wait-too-long',
      bucket: expect.stringMatching(/:purge\/objects$/),
      remaining: 8,
    });
    expect(api.seen).toHaveLength(1);
    for (const end of [':purge', ':purge/objects', ':global']) {
      expect(await bucket(end)).toMatchObject({ leases: 0, waiting: 0 });
    }
  });

  test('are those of an account for all its credentials', async () => {
    const settings = { HEADGATE_SECRET: 'a-secret-of-the-test' };
    const send = async ({ gateway }: Awaited<ReturnType<typeof startLimited>>): Promise<void> => {
      for (const authorization of ['token one', 'token two', 'token three']) {
        await ask(`${gateway.url}/zones`, { headers: { authorization } });
      }
    };
    const limits = 'limits: [{ name: shared, limit: 9/1h, scope: account }]';
    const own = 'classes: [{ name: all, limits: [{ limit: 5/1h, scope: credential }] }]';
    const first = await startLimited(own, undefined, undefined, settings);
    await send(first);
    const hashes = (await bucketsOf(first.gateway)).map(({ id }) => id.split(':')[0]);
    const file = `${own}\n${limits}\naccounts: { main: [${hashes[0]}, ${hashes[1]}] }`;
    const second = await startLimited(file, undefined, undefined, settings);
    await send(second);
    const left = (await bucketsOf(second.gateway)).map(({ id, remaining }) => [id, remaining]);
    expect(Object.fromEntries(left)).toEqual({
      [`${hashes[0]}:all`]: 4,
      [`${hashes[1]}:all`]: 4,
      [`${hashes[2]}:all`]: 4,
      'account/main:shared': 7,
      [`${hashes[2]}:shared`]: 8,
    });
  });

  test('are only counted in observe mode, and the log says what would have waited', async () => {
    const { api, clock, gateway, bucket } = await startLimited(PURGE, undefined, undefined, {
      HEADGATE_MODE: 'observe',
    });
    for (let i = 0; i < 2; i++) await ask(`${gateway.url}/purge/url`, purge(12));
    expect(api.seen).toHaveLength(2);
    expect(await gateway.log.wait('call', 2)).toMatchObject([
      { outcome: 'answered', wouldWaitMs: 0 },
      {
        outcome: 'answered',
        waitMs: 0,
        wouldWaitMs: MINUTE_MS,
        bucket: expect.stringMatching(/:purge\/objects$/),
      },
    ]);
    // The ticket stays in the queue of the objects until it would have been sent.
    expect(await bucket(':purge/objects')).toMatchObject({ waiting: 1 });
    clock.advance(MINUTE_MS);
    await until('it is granted', async () => (await bucket(':purge/objects'))?.waiting === 0);
    for (const end of [':purge', ':purge/objects', ':global']) {
      expect(await bucket(end)).toMatchObject({ leases: 0, waiting: 0 });
    }
  });

  test('over the classes count the requests of all of them', async () => {
    const { api, clock, gateway, bucket } = await startLimited(PURGE);
    for (let i = 0; i < 3; i++) await ask(`${gateway.url}/purge/url`, purge(1));
    for (let i = 0; i < 3; i++) await ask(`${gateway.url}/zones`);
    void ask(`${gateway.url}/zones`);
    await until('it waits', async () => (await bucket(':global'))?.waiting === 1);
    expect(api.seen).toHaveLength(6);
    clock.advance(60 * MINUTE_MS);
    await until('it was sent', () => api.seen.length === 7);
  });
});

describe('a refusal that names no limit', () => {
  test('makes its request wait alone, and a second one closes the class, not the others', async () => {
    let refusals = 2;
    const { api, clock, gateway, bucket } = await startLimited(
      PURGE,
      () => (refusals > 0 ? { 'Retry-After': '30' } : {}),
      (url) => (url.startsWith('/purge/') && refusals-- > 0 ? 429 : 200),
    );
    const first = ask(`${gateway.url}/purge/url`, purge(1));
    await gateway.log.wait('throttled', 1);
    expect((await bucket(':purge'))?.blockedForMs).toBeUndefined();
    const second = ask(`${gateway.url}/purge/url`, purge(1));
    await gateway.log.wait('throttled', 2);
    expect(gateway.log.named('throttled')).toMatchObject([
      { scope: 'request' },
      { scope: 'bucket' },
    ]);
    expect((await bucket(':purge'))?.blockedForMs).toBeGreaterThan(29_000);
    for (const end of [':purge/objects', ':global']) {
      expect((await bucket(end))?.blockedForMs).toBeUndefined();
    }
    const third = ask(`${gateway.url}/purge/url`, purge(1));
    expect((await ask(`${gateway.url}/zones`)).status).toBe(200);
    await untilStill(() => api.seen.length);
    expect(api.seen.filter(({ url }) => url.startsWith('/purge/'))).toHaveLength(2);
    // The bucket is tried with one request first.
    const answers = await advanceUntil({ clock, gateway }, Promise.all([first, second, third]));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  });
});

describe('reported limits', () => {
  const BOTH = `
classes:
  - name: all
    limits: [100/1m, { name: daily, limit: 1000/1d }]
`;

  test('are taken for the bucket that they name', async () => {
    const { gateway, bucket } = await startLimited(BOTH, () => ({
      'RateLimit-Policy': '"default";q=90;w=60, "daily";q=800;w=86400',
      RateLimit: '"default";r=50;t=60, "daily";r=700;t=3600',
    }));
    await ask(`${gateway.url}/zones`);
    expect(await bucket(':all')).toMatchObject({ limit: 90, remaining: 50 });
    expect(await bucket(':all/daily')).toMatchObject({ limit: 800, remaining: 700 });
  });

  test('of a refusal spend nothing in a bucket that did not refuse', async () => {
    let answers = 0;
    const { clock, gateway, bucket } = await startLimited(
      `
classes:
  - name: all
limits:
  - { name: global, limit: 1000/1d }
`,
      () => ({
        'X-RateLimit-Limit': '100',
        'X-RateLimit-Remaining': answers === 1 ? '100' : '99',
        'X-RateLimit-Reset': '60',
        ...(answers === 1 ? { 'Retry-After': '9', 'X-RateLimit-Scope': 'global' } : {}),
      }),
      () => (answers++ === 0 ? 429 : 200),
    );
    const asked = ask(`${gateway.url}/zones`);
    await gateway.log.wait('throttled', 1);
    clock.advance(10_000);
    expect((await asked).status).toBe(200);
    // Else the API would seem to report what remained before the request.
    expect(await bucket(':all')).toMatchObject({ limit: 100, remaining: 99, leases: 0 });
  });

  test('block the bucket that refused, and no other', async () => {
    let refused = 0;
    const { clock, gateway, bucket } = await startLimited(
      BOTH,
      () => (refused === 1 ? { 'Retry-After': '600', 'X-RateLimit-Scope': 'daily' } : {}),
      () => (refused++ === 0 ? 429 : 200),
    );
    const asked = ask(`${gateway.url}/zones`);
    await until(
      'it is blocked',
      async () => (await bucket(':all/daily'))?.blockedForMs !== undefined,
    );
    expect((await bucket(':all'))?.blockedForMs).toBeUndefined();
    clock.advance(600_000);
    expect((await asked).status).toBe(200);
  });
});
