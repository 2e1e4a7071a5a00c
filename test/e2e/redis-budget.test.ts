// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Semantics } from '../support/limiter.ts';
import {
  learnTheTime,
  LIMIT,
  load,
  measured,
  startFleet,
  statuses,
  utilisation,
  type Fleet,
  type LoadAnswer,
} from '../support/redis-fleet.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

/** So many that a moment in which a busy machine stands still is little of them all. */
const BUDGETS = 6;
const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
/** What docs/redis.md names; every bucket's keys share its tag. */
const KEY =
  /^headgate:(?:\{[0-9a-f]{16}:read\}:(?:state|queue|tickets|active|idle|flows|owners|lengths|leases|held|offers|expired|replicas)|\{replicas\}:(?:seen|key))$/;

interface Run {
  readonly redis: RedisServer;
  readonly fleet: Fleet;
  readonly answers: readonly LoadAnswer[];
}

const runs = new Map<Semantics, Run>();

/** Half of the semantics at a time: most of a run is waiting. */
beforeAll(async () => {
  for (const half of [SEMANTICS.slice(0, 2), SEMANTICS.slice(2)]) {
    await Promise.all(half.map(saturate));
  }
});

afterAll(async () => {
  for (const { fleet, redis } of runs.values()) {
    await fleet.close();
    await redis.stop();
  }
});

async function saturate(semantics: Semantics): Promise<void> {
  const redis = await startRedis();
  const fleet = await startFleet({ redisUrl: redis.url, api: { semantics } });
  await learnTheTime(fleet);
  const answers = await load(fleet, { calls: LIMIT * BUDGETS });
  runs.set(semantics, { redis, fleet, answers });
}

describe.each(SEMANTICS)('three replicas and six callers before a %s limit', (semantics) => {
  function run(): Run {
    const found = runs.get(semantics);
    if (found === undefined) throw new Error(`there was no run before a ${semantics} limit`);
    return found;
  }

  test('no caller sees anything but the answer', () => {
    expect(statuses(run().answers)).toEqual({ 200: LIMIT * BUDGETS });
  });

  test('the API refuses nothing, and serves each call once', () => {
    const seen = measured(run().fleet);
    expect(seen.filter(({ status }) => status === 429)).toEqual([]);
    expect(seen).toHaveLength(LIMIT * BUDGETS);
    expect(new Set(seen.map(({ url }) => url)).size).toBe(LIMIT * BUDGETS);
  });

  test('the budget is used to the full', () => {
    expect(utilisation(run().fleet)).toBeGreaterThanOrEqual(0.96);
  });

  test('what is left in Redis is what is documented, and ends by itself', async () => {
    const { redis } = run();
    const keys = await redis.client.keys('*');
    expect(keys.filter((key) => !KEY.test(key))).toEqual([]);
    const lasting = [];
    for (const key of keys) if ((await redis.client.pttl(key)) < 0) lasting.push(key);
    expect(lasting).toEqual(['headgate:{replicas}:key']);
  });

  test('nothing that a caller sent as a credential is in Redis', async () => {
    const { redis } = run();
    for (const key of await redis.client.keys('*')) {
      const dump = await redis.client.dumpBuffer(key);
      expect(dump?.includes('one-for-all') ?? false).toBe(false);
      expect(key).not.toContain('one-for-all');
    }
  });
});
