// @module-tag needs-redis-server
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { FAULTS } from '../support/redis-faults.ts';
import {
  learnTheTime,
  ledgersOf,
  LIMIT,
  load,
  PERIOD_MS,
  startFleet,
  statuses,
} from '../support/redis-fleet.ts';
import { startRedis } from '../support/redis-server.ts';
import { until } from '../support/setup.ts';

/**
 * How much of the budget is overrun during a fault depends on the machine: `npm run bench -- faults`
 * measures it. Here no caller may notice the fault, and the API must serve each call once.
 */
describe.concurrent('no caller notices that', { timeout: 300_000 }, () => {
  test.each(Object.entries(FAULTS))('%s', async (_name, run) => {
    const closers: (() => Promise<unknown>)[] = [];
    try {
      const {
        calls,
        statuses: answered,
        missing,
        repeated,
      } = await run((close) => closers.push(close));
      expect({ answered, missing, repeated }).toEqual({
        answered: { 200: calls },
        missing: 0,
        repeated: 0,
      });
    } finally {
      for (const close of closers.toReversed()) await close();
    }
  });
});

test('replicas with enough budget serve on while Redis is away, and log a warning', async () => {
  const redis = await startRedis();
  const fleet = await startFleet({ redisUrl: redis.url, api: { semantics: 'fixed' } });
  try {
    await learnTheTime(fleet);
    const loaded = load(fleet, { calls: LIMIT, pressure: 0.5 });
    await sleep(PERIOD_MS / 2);
    // For ever: a call that waited for Redis would never be answered.
    redis.signal('SIGSTOP');
    expect(statuses(await loaded)).toEqual({ 200: LIMIT });
    await until('all work alone', async () => (await ledgersOf(fleet)).every((l) => l === 'local'));
    for (const { log } of fleet.replicas) {
      expect(log.named('ledger').at(-1)).toMatchObject({ level: 'warn', ledger: 'local' });
    }
  } finally {
    await fleet.close();
    await redis.stop();
  }
});
