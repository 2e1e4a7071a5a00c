// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Semantics } from '../support/limiter.ts';
import {
  LIMIT,
  load,
  measured,
  startFleet,
  statuses,
  type Fleet,
  type LoadAnswer,
} from '../support/redis-fleet.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

const BUDGETS = 3;
const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
/** The keys that docs/redis.md names; all keys of a bucket share its tag. */
const KEY =
  /^headgate:(?:\{[0-9a-f]{16}:read\}:(?:state|queue|tickets|active|idle|flows|owners|lengths|leases|held|offers|expired|replicas)|\{replicas\}:(?:seen|key)|\{lessons\})$/;

interface Run {
  readonly redis: RedisServer;
  readonly fleet: Fleet;
  readonly answers: readonly LoadAnswer[];
}

const runs = new Map<Semantics, Run>();

/** Two kinds of limits at a time: most of a run is waiting. */
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
  const fleet = await startFleet({ redisUrl: redis.url, timeout: '1m', api: { semantics } });
  const answers = await load(fleet, { calls: LIMIT * BUDGETS });
  runs.set(semantics, { redis, fleet, answers });
}

/**
 * How much of the budget is used, and that the API refuses nothing, depends on the machine here.
 * test/ledger/shared/saturation.test.ts shows it on a clock of its own, and `npm run bench` measures it.
 */
describe.each(SEMANTICS)('three replicas and six callers before a %s limit', (semantics) => {
  function run(): Run {
    const found = runs.get(semantics);
    if (found === undefined) throw new Error(`there was no run before a ${semantics} limit`);
    return found;
  }

  test('each caller gets the answer of the API', () => {
    expect(statuses(run().answers)).toEqual({ 200: LIMIT * BUDGETS });
  });

  test('the API serves each call once', () => {
    const served = measured(run().fleet).filter(({ counted }) => counted);
    expect(served).toHaveLength(LIMIT * BUDGETS);
    expect(new Set(served.map(({ url }) => url)).size).toBe(LIMIT * BUDGETS);
  });

  test('Redis has the documented keys only, and they expire', async () => {
    const { redis } = run();
    const keys = await redis.client.keys('*');
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.filter((key) => !KEY.test(key))).toEqual([]);
    const lasting = [];
    // -1: it does not expire; a key that expired meanwhile has another number.
    for (const key of keys) if ((await redis.client.pttl(key)) === -1) lasting.push(key);
    expect(lasting).toEqual(['headgate:{replicas}:key']);
  });

  test('Redis has no credential of a caller', async () => {
    const { redis } = run();
    for (const key of await redis.client.keys('*')) {
      const dump = await redis.client.dumpBuffer(key);
      expect(dump?.includes('one-for-all') ?? false).toBe(false);
      expect(key).not.toContain('one-for-all');
    }
  });
});
