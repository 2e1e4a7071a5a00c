import { expect, onTestFinished, test } from 'vitest';
import { startAzion, type Azion } from '../support/azion.ts';
import { startChild, type Child } from './child.ts';
import { putLoadOn, type Load } from './load.ts';

const PLENTY = { limit: 1_000_000, periodMs: 60_000 };

async function start(
  env: Record<string, string> = {},
): Promise<{ api: Azion; gateway: Child; load: Load }> {
  const api = await startAzion({ limits: { read: PLENTY } });
  onTestFinished(() => api.close());
  const gateway = await startChild({ env: { HEADGATE_UPSTREAM_URL: api.url, ...env } });
  onTestFinished(() => gateway.stop());
  const load = putLoadOn(gateway.url, { callers: 8 });
  onTestFinished(() => load.stop());
  await gateway.waitUntil(() => gateway.count('call') >= 50);
  return { api, gateway, load };
}

test('settings that are read again under load cost no call', async () => {
  const { api, gateway, load } = await start();
  for (let i = 1; i <= 5; i++) {
    const before = gateway.count('call');
    gateway.kill('SIGHUP');
    await gateway.waitUntil(
      () => gateway.count('reloaded') === i && gateway.count('call') >= before + 20,
    );
  }
  await load.stop();
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
});

test('a load balancer that asks for readiness loses no call when a replica stops', async () => {
  const { api, gateway, load } = await start({ HEADGATE_DRAIN_DELAY: '2s' });
  gateway.kill('SIGTERM');
  for (;;) {
    const { status } = await fetch(`${gateway.adminUrl}/health/ready`);
    if (status === 503) break;
  }
  await load.stop();
  expect(await gateway.ended()).toEqual({ code: 0, signal: null });
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
  expect(gateway.count('call')).toBe(api.operations);
});
