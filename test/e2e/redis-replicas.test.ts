// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { load, startFleet, statuses } from '../support/redis-fleet.ts';
import { startRedis } from '../support/redis-server.ts';

test('a replica that finds a newer layout in Redis works alone, and logs it', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const settings = { HEADGATE_BUDGET_PER: 'upstream' };
  const fleet = await startFleet({ redisUrl: redis.url, replicas: 1, settings });
  onTestFinished(() => fleet.close());
  await redis.client.hset('headgate:{upstream:read}:state', 'layout', 99);
  expect(statuses(await load(fleet, { calls: 5 }))).toEqual({ 200: 5 });
  const line = await fleet.replicas[0]?.log.first('ledger');
  expect(line).toMatchObject({ level: 'warn', ledger: 'local' });
  expect(String(line?.['reason'])).toMatch(/layout 99/);
});
