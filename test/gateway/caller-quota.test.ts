import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

const MINUTE_MS = 60_000;
const KEYS = { job: 'key-of-the-nightly-job', web: 'key-of-the-web-service' };

interface SetUp {
  readonly callers?: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** The answers of the API, in their order; 200 after the last one. */
  readonly answers?: readonly { status: number; headers?: Record<string, string> }[];
}

async function setUp({ callers, settings, answers = [] }: SetUp = {}) {
  const left = [...answers];
  const api = await startApi(async (incoming, outgoing) => {
    await text(incoming);
    const { status, headers } = left.shift() ?? { status: 200 };
    outgoing.writeHead(status, headers);
    outgoing.end('{}');
  });
  onTestFinished(() => api.close());
  const clock = new FakeClock();
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: {
      HEADGATE_PRESET: 'none',
      HEADGATE_CALLER_KEYS: `job=${KEYS.job},web=${KEYS.web}`,
      ...settings,
    },
    files: { 'headgate.yaml': callers ?? 'callers: [{ name: job, quota: 5/1h }]' },
  });
  onTestFinished(() => gateway.stop());
  const askAs = (
    caller: keyof typeof KEYS,
    headers: Readonly<Record<string, string>> = {},
    path = '/',
  ): ReturnType<typeof ask> =>
    ask(gateway.url + path, { headers: { 'Headgate-Key': KEYS[caller], ...headers } });
  const quota = async () => (await bucketsOf(gateway)).find(({ id }) => id === 'quota:job');
  return { api, clock, gateway, askAs, quota };
}

describe('a caller with a quota', () => {
  test('is refused when it is used up, and others go on', async () => {
    const { api, gateway, clock, askAs } = await setUp();
    for (let i = 0; i < 5; i++) {
      expect((await askAs('job')).status).toBe(200);
      expect((await askAs('web')).status).toBe(200);
      clock.advance(1000);
    }
    const refused = await askAs('job');
    expect(refused.status).toBe(503);
    expect(refused.headers['headgate-error']).toBe('caller-quota');
    // The first call returns an hour after its answer, less the wait that a retry may have by then.
    expect(Number(refused.headers['retry-after'])).toBe(3600 - 5 - 60);
    expect(JSON.parse(refused.text)).toMatchObject({
      code: 'caller-quota',
      title: 'The quota of this caller is used up',
      detail: expect.stringContaining('the quota of 5/1h of the caller job is used up'),
    });
    for (let i = 0; i < 5; i++) expect((await askAs('web')).status).toBe(200);
    expect(api.seen).toHaveLength(15);
    const lines = await gateway.log.wait('call', 16);
    expect(lines.find(({ code }) => code === 'caller-quota')).toMatchObject({
      caller: 'job',
      outcome: 'shed',
      bucket: 'quota:job',
      class: 'quota',
      limit: 5,
      remaining: 0,
    });
    const metrics = (await ask(`${gateway.adminUrl}/metrics`)).text;
    expect(metrics).toContain('headgate_sheds_total{code="caller-quota"} 1');
    expect(metrics).toContain('headgate_quota_sheds_total{caller="job"} 1');
    expect(metrics).toContain('headgate_bucket_remaining{bucket="quota:job",class="quota"} 0');
  });

  test('has no call beyond it, however long nothing was sent, and each call back after the period', async () => {
    const { clock, askAs } = await setUp();
    for (let i = 0; i < 5; i++) {
      expect((await askAs('job')).status).toBe(200);
      clock.advance(MINUTE_MS);
    }
    for (let passed = 5; passed < 58; passed++) {
      expect((await askAs('job')).headers['headgate-error']).toBe('caller-quota');
      clock.advance(MINUTE_MS);
    }
    clock.advance(2 * MINUTE_MS);
    expect((await askAs('job')).status).toBe(200);
    expect((await askAs('job', { 'Headgate-Max-Wait': '5s' })).status).toBe(503);
    clock.advance(MINUTE_MS);
    expect((await askAs('job')).status).toBe(200);
  });

  test('waits for it if that can be within its deadline', async () => {
    const { clock, askAs, quota } = await setUp({
      callers: 'callers: [{ name: job, quota: 1/30s }]',
    });
    expect((await askAs('job')).status).toBe(200);
    const waiting = askAs('job');
    await until('it waits', async () => (await quota())?.waiting === 1);
    clock.advance(30_000);
    expect((await waiting).status).toBe(200);
  });

  test('counts its calls with all credentials and of all classes, each by its cost', async () => {
    const { askAs, quota } = await setUp({
      callers: [
        'callers: [{ name: job, quota: 20/1h }]',
        'classes: [{ name: purge, path: /purge, cost: 3 }]',
      ].join('\n'),
    });
    await askAs('job', { Authorization: 'token one' });
    await askAs('job', { Authorization: 'token two' });
    await askAs('job', {}, '/purge');
    await askAs('job', { 'Headgate-Cost': '7' });
    expect(await quota()).toMatchObject({
      class: 'quota',
      name: 'job',
      stated: true,
      quota: true,
      limit: 20,
      remaining: 20 - 1 - 1 - 3 - 7,
      leases: 0,
    });
    const costly = await askAs('job', { 'Headgate-Cost': '21' });
    expect(JSON.parse(costly.text)).toMatchObject({
      code: 'cost-too-high',
      detail: expect.stringContaining(
        'costs 21 operations, more than the quota of 20/1h of the caller job',
      ),
    });
  });

  test('counts what an answer says that the call did cost', async () => {
    const { askAs, quota } = await setUp({
      callers: [
        'callers: [{ name: job, quota: 20/1h }]',
        'classes: [{ name: all, settleCost: { header: x-cost } }]',
      ].join('\n'),
      answers: [{ status: 200, headers: { 'x-cost': '6' } }],
    });
    await askAs('job');
    expect(await quota()).toMatchObject({ remaining: 14 });
  });

  test('learns nothing from the API: its headers and refusals are those of its own buckets', async () => {
    const reports = (remaining: number) => ({
      'x-ratelimit-limit': '100',
      'x-ratelimit-remaining': String(remaining),
      'x-ratelimit-reset': '60',
    });
    const { clock, gateway, askAs, quota } = await setUp({
      answers: [
        { status: 200, headers: reports(40) },
        { status: 404, headers: reports(39) },
        { status: 429, headers: { ...reports(0), 'retry-after': '10' } },
        { status: 200, headers: reports(99) },
      ],
    });
    await askAs('job');
    await askAs('job');
    expect(await quota()).toMatchObject({ limit: 5, remaining: 3 });
    const api = (await bucketsOf(gateway)).find(({ id }) => id !== 'quota:job');
    expect(api).toMatchObject({ limit: 100, remaining: 39 });
    const throttled = askAs('job');
    await gateway.log.wait('throttled', 1);
    // A refused request gives its operation back, and the repeated one takes it again.
    expect(await quota()).toMatchObject({ limit: 5, remaining: 3 });
    expect((await quota())?.blockedForMs).toBeUndefined();
    clock.advance(10_000);
    expect((await throttled).status).toBe(200);
    expect(await quota()).toMatchObject({ limit: 5, remaining: 2 });
  });

  test('pays nothing for a call that did not reach the API', async () => {
    const { api, askAs, quota } = await setUp({ settings: { HEADGATE_RETRIES: '0' } });
    await askAs('job');
    await api.close();
    expect((await askAs('job')).status).toBe(502);
    expect(await quota()).toMatchObject({ remaining: 4, leases: 0 });
  });

  test('holds nothing of the API while it waits for its quota', async () => {
    const { clock, gateway, askAs, quota } = await setUp({
      callers: 'callers: [{ name: job, quota: 1/30s }]',
      settings: { HEADGATE_LIMIT: '10/1h' },
    });
    await askAs('job');
    const waiting = askAs('job');
    await until('it waits', async () => (await quota())?.waiting === 1);
    const api = (await bucketsOf(gateway)).find(({ id }) => id !== 'quota:job');
    expect(api).toMatchObject({ remaining: 9, leases: 0 });
    clock.advance(30_000);
    expect((await waiting).status).toBe(200);
  });
});

test('a quota in observe mode is noted, and refuses nothing', async () => {
  const { gateway, askAs } = await setUp({
    callers: 'callers: [{ name: job, quota: 1/1h }]',
    settings: { HEADGATE_MODE: 'observe' },
  });
  expect((await askAs('job')).status).toBe(200);
  expect((await askAs('job')).status).toBe(200);
  expect((await gateway.log.wait('call', 2))[1]).toMatchObject({
    wouldShed: 'caller-quota',
    bucket: 'quota:job',
  });
});

test('a quota belongs to the name of HEADGATE_CALLER where callers have no keys', async () => {
  const { gateway } = await setUp({
    settings: { HEADGATE_CALLER_KEYS: '', HEADGATE_CALLER: 'job' },
    callers: 'callers: [{ name: job, quota: 1/1h }]',
  });
  expect((await ask(`${gateway.url}/`)).status).toBe(200);
  expect((await ask(`${gateway.url}/`)).headers['headgate-error']).toBe('caller-quota');
});

test('the rule that applies to a call does not decide whether its quota counts', async () => {
  const { askAs } = await setUp({
    callers: [
      'callers:',
      '  - { name: job, userAgent: curl, shedStatus: 429 }',
      '  - { name: job, quota: 1/1h }',
    ].join('\n'),
  });
  const headers = { 'User-Agent': 'curl/8.1' };
  expect((await askAs('job', headers)).status).toBe(200);
  const refused = await askAs('job', headers);
  expect([refused.status, refused.headers['headgate-error']]).toEqual([429, 'caller-quota']);
});

test('a rule with a quota alone leaves the treatment of calls to the rules after it', async () => {
  const { askAs } = await setUp({
    callers: [
      'callers:',
      '  - { name: job, quota: 1/1h, why: it runs all night }',
      '  - { userAgent: curl, shedStatus: 429 }',
    ].join('\n'),
  });
  const headers = { 'User-Agent': 'curl/8.1' };
  await askAs('job', headers);
  expect((await askAs('job', headers)).status).toBe(429);
  expect((await askAs('job')).status).toBe(503);
});
