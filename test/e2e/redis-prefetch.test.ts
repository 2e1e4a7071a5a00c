// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import type { Semantics } from '../support/limiter.ts';
import { measured, startFleet } from '../support/redis-fleet.ts';
import { askAll, stepsOf, WIDE } from '../support/redis-prefetch.ts';
import { startRedis } from '../support/redis-server.ts';

/** The budget that the replicas find, and the one after its reset. */
const CALLS = WIDE.limit * 2;

/**
 * Whether the API refuses a call, and how few steps the calls need, depends on the machine here.
 * test/ledger/shared/prefetch.test.ts shows both on a clock of its own, and `npm run bench` measures them.
 */
test.each<Semantics>(['fixed', 'sliding'])(
  'three replicas prefetch from a wide %s limit, and each call is served once',
  async (semantics) => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const api = { semantics, limits: { read: WIDE } };
    const fleet = await startFleet({ redisUrl: redis.url, timeout: '1m', api });
    onTestFinished(() => fleet.close());
    const answers = await askAll(fleet, CALLS);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(answers).toHaveLength(CALLS);
    const served = measured(fleet).filter(({ counted }) => counted);
    expect(served).toHaveLength(CALLS);
    expect(new Set(served.map(({ url }) => url)).size).toBe(CALLS);
    expect(await stepsOf(fleet)).toBeGreaterThan(0);
  },
);
