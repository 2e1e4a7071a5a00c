// @module-tag needs-redis-server
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, type TestContext } from 'vitest';
import { ask } from '../support/ask.ts';
import {
  learnTheTime,
  LIMIT,
  load,
  measured,
  PERIOD_MS,
  startFleet,
  statuses,
  TOKEN,
  type Fleet,
} from '../support/redis-fleet.ts';
import { startRedis } from '../support/redis-server.ts';

async function startReplicas({ onTestFinished }: TestContext): Promise<Fleet> {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const fleet = await startFleet({ redisUrl: redis.url });
  onTestFinished(() => fleet.close());
  await learnTheTime(fleet);
  return fleet;
}

function refused(fleet: Fleet): number {
  return measured(fleet).filter(({ status }) => status === 429).length;
}

describe.concurrent('of three saturated replicas', () => {
  test('one is killed with leases and tickets, and the others go on', async (context) => {
    const fleet = await startReplicas(context);
    const victim = fleet.replicas[2];
    const theirs = Array.from({ length: LIMIT }, (_, i) =>
      ask(`${victim?.url}/domains?victim=${i}`, { headers: { authorization: TOKEN } }).then(
        () => 'answered',
        () => 'broken',
      ),
    );
    const loaded = load(fleet, { calls: 2 * LIMIT, pressure: 1.5, replicaOf: (call) => call % 2 });
    await sleep(PERIOD_MS / 4);
    victim?.kill('SIGKILL');
    expect(statuses(await loaded)).toEqual({ 200: 2 * LIMIT });
    expect(await Promise.all(theirs)).toContain('broken');
    expect(refused(fleet)).toBeLessThanOrEqual(measured(fleet).length * 0.05);
  });

  test('one sleeps for fifteen seconds and sends nothing that it no longer owns', async (context) => {
    const fleet = await startReplicas(context);
    const sleeper = fleet.replicas[2];
    const loaded = load(fleet, { calls: 9 * LIMIT, pressure: 1.2 });
    await sleep(PERIOD_MS / 2);
    sleeper?.kill('SIGSTOP');
    await sleep(15_000);
    sleeper?.kill('SIGCONT');
    expect(statuses(await loaded)).toEqual({ 200: 9 * LIMIT });
    const calls = measured(fleet).filter(({ counted }) => counted);
    expect(new Set(calls.map(({ url }) => url)).size).toBe(calls.length);
    expect(refused(fleet)).toBeLessThanOrEqual(measured(fleet).length * 0.05);
  });

  test('each is replaced by a new one, and no caller notices', async (context) => {
    const fleet = await startReplicas(context);
    const alive = [0, 1, 2];
    const loaded = load(fleet, {
      calls: 4 * LIMIT,
      pressure: 0.8,
      replicaOf: (call) => alive[call % alive.length] ?? 0,
    });
    for (const old of [0, 1, 2]) {
      await sleep(PERIOD_MS / 2);
      const replacement = fleet.replicas.length;
      await fleet.add();
      // As a balancer does: the old one gets nothing new, and then is told to stop.
      alive.splice(alive.indexOf(old), 1, replacement);
      fleet.replicas[old]?.kill('SIGTERM');
    }
    expect(statuses(await loaded)).toEqual({ 200: 4 * LIMIT });
    expect(refused(fleet)).toBeLessThanOrEqual(measured(fleet).length * 0.01);
    for (const old of fleet.replicas.slice(0, 3)) expect((await old.ended).code).toBe(0);
  });
});

test('a replica that meets a newer layout works alone and says so', async () => {
  const redis = await startRedis();
  const fleet = await startFleet({
    redisUrl: redis.url,
    replicas: 1,
    settings: { HEADGATE_BUDGET_PER: 'upstream' },
  });
  try {
    await redis.client.hset('headgate:{upstream:read}:state', 'layout', 99);
    expect(statuses(await load(fleet, { calls: 5 }))).toEqual({ 200: 5 });
    const [line] = (await fleet.replicas[0]?.log.wait('ledger', 1)) ?? [];
    expect(line).toMatchObject({ level: 'warn', ledger: 'local' });
    expect(String(line?.['reason'])).toMatch(/layout 99/);
  } finally {
    await fleet.close();
    await redis.stop();
  }
});
