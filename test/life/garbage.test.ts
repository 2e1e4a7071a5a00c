import { describe, expect, onTestFinished, test } from 'vitest';
import { startAzion } from '../support/azion.ts';
import { startRedis } from '../support/redis-server.ts';
import { startChild, type Child } from './child.ts';
import { putLoadOn } from './load.ts';

const PLENTY = { limit: 10_000_000, periodMs: 60_000 };
const CALLERS = 8;
/** Megabytes for the young: so many that most calls begin and end between two minor collections. */
const YOUNG = '--min-semi-space-size=16';

async function startLoaded(nodeArgs: readonly string[], env = {}): Promise<Child> {
  const api = await startAzion({ limits: { read: PLENTY } });
  onTestFinished(() => api.close());
  const gateway = await startChild({ nodeArgs, env: { HEADGATE_UPSTREAM_URL: api.url, ...env } });
  onTestFinished(() => gateway.stop());
  const load = putLoadOn(gateway.url, { callers: CALLERS });
  onTestFinished(() => load.stop());
  return gateway;
}

/** Of what the next calls make, the part that minor collections keep; a third where Sets kept calls. */
async function shareKept(gateway: Child, calls: number): Promise<number> {
  const from = gateway.count('call');
  const before = gateway.count('garbage');
  gateway.kill('SIGUSR2');
  await gateway.waitUntil(() => gateway.count('call') >= from + calls);
  gateway.kill('SIGUSR2');
  await gateway.waitUntil(() => gateway.count('garbage') === before + 2);
  const { seen, kept } = gateway.said('garbage').at(-1) ?? {};
  return Number(kept) / Number(seen);
}

describe('a call that is over is garbage', () => {
  const probe = ['--import', new URL('garbage-probe.ts', import.meta.url).href];

  test('with the ledger in this process', async () => {
    const gateway = await startLoaded([YOUNG, ...probe]);
    await gateway.waitUntil(() => gateway.count('call') >= 3000);
    expect(await shareKept(gateway, 10_000)).toBeLessThan(0.1);
  });

  test('with the ledger in Redis', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const gateway = await startLoaded([YOUNG, ...probe], { HEADGATE_REDIS_URL: redis.url });
    await gateway.waitUntil(() => gateway.count('call') >= 3000);
    expect(await shareKept(gateway, 10_000)).toBeLessThan(0.1);
  });
});

test('nothing is made old because its like survived', async () => {
  const gateway = await startLoaded(['--trace-pretenuring-statistics']);
  await gateway.waitUntil(() => gateway.count('call') >= 3000);
  gateway.kill('SIGTERM');
  await gateway.ended();
  expect(gateway.output).not.toContain('=> tenure');
});
