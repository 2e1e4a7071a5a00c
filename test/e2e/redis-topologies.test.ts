// @module-tag needs-redis-server
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { learnTheTime, LIMIT, load, measured, PERIOD_MS } from '../support/redis-fleet.ts';
import { startFleet, statuses, type Fleet } from '../support/redis-fleet.ts';
import { startCluster, startSentinels } from '../support/redis-topologies.ts';
import { until } from '../support/setup.ts';

const ready = z.object({ ledger: z.string() });

async function modes(fleet: Fleet): Promise<string[]> {
  return Promise.all(
    fleet.replicas.map(async ({ adminUrl }) => {
      const answer = await fetch(`${adminUrl}/health/ready`);
      return ready.parse(await answer.json()).ledger;
    }),
  );
}

function refusedShare(fleet: Fleet): number {
  const seen = measured(fleet);
  return seen.filter(({ status }) => status === 429).length / seen.length;
}

test.concurrent('a failover under Sentinel that loses the last writes is noticed by no caller', async ({
  onTestFinished,
}) => {
  const sentinels = await startSentinels();
  onTestFinished(() => sentinels.stop());
  const fleet = await startFleet({ redisUrl: sentinels.url });
  onTestFinished(() => fleet.close());
  await learnTheTime(fleet);
  expect(await modes(fleet)).toEqual(['redis', 'redis', 'redis']);

  const { primary, secondary } = sentinels;
  const loaded = load(fleet, { calls: 3 * LIMIT, pressure: 1.2 });
  await sleep(PERIOD_MS / 2);
  secondary.signal('SIGSTOP');
  await sleep(200);
  await primary.kill();
  secondary.signal('SIGCONT');
  await until(
    'the secondary is the primary',
    async () => (await sentinels.primaryPort()) === secondary.port,
    { everyMs: 50 },
  );
  expect(statuses(await loaded)).toEqual({ 200: 3 * LIMIT });
  expect(refusedShare(fleet)).toBeLessThan(0.05);
  await until(
    'all are in touch with it',
    async () => (await modes(fleet)).join() === 'redis,redis,redis',
    {
      everyMs: 50,
    },
  );
  const keys = await secondary.client.keys('headgate:*:state');
  expect(keys.length).toBeGreaterThan(0);
});

test.concurrent('the loss of one node of a cluster of three is noticed by no caller', async ({
  onTestFinished,
}) => {
  const cluster = await startCluster();
  onTestFinished(() => cluster.stop());
  const settings = { HEADGATE_BUDGET_PER: 'upstream' };
  const fleet = await startFleet({ redisUrl: cluster.url, settings });
  onTestFinished(() => fleet.close());
  expect(statuses(await load(fleet, { calls: 30 }))).toEqual({ 200: 30 });
  expect(await modes(fleet)).toEqual(['redis', 'redis', 'redis']);
  const node = await cluster.nodeOf('headgate:{upstream:read}:state');
  expect(await node.client.exists('headgate:{upstream:read}:state')).toBe(1);

  const loaded = load(fleet, { calls: 2 * LIMIT, pressure: 1.2 });
  await sleep(PERIOD_MS / 2);
  await node.kill();
  expect(statuses(await loaded)).toEqual({ 200: 2 * LIMIT });
  expect(refusedShare(fleet)).toBeLessThan(0.05);
  expect(await modes(fleet)).toEqual(['local', 'local', 'local']);
});
