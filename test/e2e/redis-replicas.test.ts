// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { load, startFleet, statuses, untilShared } from '../support/redis-fleet.ts';
import { startRedis } from '../support/redis-server.ts';

test('a replica that finds a newer layout in Redis works alone, and logs it', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const settings = { HEADGATE_BUDGET_PER: 'upstream' };
  const fleet = await startFleet({ redisUrl: redis.url, replicas: 1, timeout: '1m', settings });
  onTestFinished(() => fleet.close());
  await untilShared(fleet);
  const lines = fleet.replicas[0]?.log.count('ledger') ?? 0;
  await redis.client.hset('headgate:{upstream:read}:state', 'layout', 99);
  expect(statuses(await load(fleet, { calls: 5 }))).toEqual({ 200: 5 });
  const line = (await fleet.replicas[0]?.log.wait('ledger', lines + 1))?.at(lines);
  expect(line).toMatchObject({ level: 'warn', ledger: 'local' });
  expect(String(line?.['reason'])).toMatch(/layout 99/);
});
