// @module-tag needs-redis-server
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Clock } from '../../src/util/clock.ts';
import { ask, type Answer } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { reportDraft11 } from '../support/limit-reports.ts';
import { startLimitedApi, type LimitedApi } from '../support/limited-api.ts';
import { patientClock } from '../support/patient-clock.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

/** Two replicas that share, in Redis, the limit of a class and one over all classes. */

interface Limits {
  readonly search: number;
  readonly global: number;
  readonly periodMs: number;
}

let redis: RedisServer;

beforeEach(async () => {
  redis = await startRedis();
  onTestFinished(() => redis.stop());
});

async function startLimited({ search, global, periodMs }: Limits): Promise<LimitedApi> {
  const api = await startLimitedApi({
    limits: [
      { name: 'search', limit: search, periodMs, counts: '/search/*' },
      { name: 'global', limit: global, periodMs },
    ],
    report: reportDraft11({ retryAfter: 'delta-ceil' }),
  });
  onTestFinished(() => api.close());
  return api;
}

async function startReplica(
  { url }: LimitedApi,
  { search, global, periodMs }: Limits,
  { maxWait, clock }: { readonly maxWait: string; readonly clock?: Clock },
): Promise<TestGateway> {
  const period = `${periodMs / 1000}s`;
  const gateway = await startGateway({
    upstream: url,
    ...(clock === undefined ? {} : { clock }),
    settings: {
      HEADGATE_PRESET: 'none',
      HEADGATE_MAX_WAIT: maxWait,
      HEADGATE_REDIS_URL: redis.url,
      HEADGATE_REDIS_TIMEOUT: '1m',
    },
    files: {
      'headgate.yaml': `
classes:
  - name: search
    path: /search/*
    limits: [{ name: search, limit: ${search}/${period} }]
limits:
  - { name: global, limit: ${global}/${period} }
`,
    },
  });
  onTestFinished(() => gateway.stop());
  return gateway;
}

const headers = { authorization: 'token one-for-all' };

function statusesOf(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

test('two replicas spend exactly what each of two limits allows', async () => {
  const limits = { search: 4, global: 10, periodMs: 3_600_000 };
  const api = await startLimited(limits);
  const replicas = [
    await startReplica(api, limits, { maxWait: '0', clock: patientClock }),
    await startReplica(api, limits, { maxWait: '0', clock: patientClock }),
  ] as const;
  const searches: Answer[] = [];
  for (let i = 0; i < 6; i++) {
    searches.push(await ask(`${replicas[i % 2 === 0 ? 0 : 1].url}/search/issues`, { headers }));
  }
  const zones: Answer[] = [];
  for (let i = 0; i < 8; i++) {
    zones.push(await ask(`${replicas[i % 2 === 0 ? 0 : 1].url}/zones`, { headers }));
  }
  expect(statusesOf(searches)).toEqual({ 200: 4, 503: 2 });
  expect(statusesOf(zones)).toEqual({ 200: 6, 503: 2 });
  expect(api.calls.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
});

test('requests that wait for either limit are each sent once, by one of two replicas', async () => {
  const limits = { search: 4, global: 10, periodMs: 1000 };
  const api = await startLimited(limits);
  const replicas = [
    await startReplica(api, limits, { maxWait: '1h' }),
    await startReplica(api, limits, { maxWait: '1h' }),
  ] as const;
  const calls = Array.from({ length: 24 }, (_, i) =>
    ask(`${replicas[i % 2 === 0 ? 0 : 1].url}/${i % 4 < 2 ? 'search' : 'zones'}/${i}`, { headers }),
  );
  expect(statusesOf(await Promise.all(calls))).toEqual({ 200: 24 });
  const served = api.calls.filter(({ status }) => status === 200).map(({ path }) => path);
  expect(served).toHaveLength(24);
  expect(new Set(served).size).toBe(24);
});
