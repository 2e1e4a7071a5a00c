import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import { putLoadOn, type Load } from './load.ts';

const LIMITS = { read: { limit: 1_000_000, periodMs: 60_000 } };

interface Loaded {
  readonly api: Azion;
  readonly gateway: GatewayProcess;
  readonly load: Load;
}

async function start(settings: Record<string, string> = {}): Promise<Loaded> {
  const api = await startAzion({ limits: LIMITS });
  onTestFinished(() => api.close());
  const gateway = await startGatewayProcess({ upstream: api.url, settings });
  onTestFinished(() => gateway.stop());
  const load = putLoadOn(gateway.url, { callers: 8 });
  onTestFinished(() => load.stop());
  await gateway.log.wait('call', 50);
  return { api, gateway, load };
}

test('a reload of the settings under load costs no call', async () => {
  const { api, gateway, load } = await start();
  const { log } = gateway;
  for (let i = 1; i <= 5; i++) {
    const before = log.count('call');
    gateway.kill('SIGHUP');
    await log.waitUntil(() => log.count('reloaded') === i && log.count('call') >= before + 20);
  }
  await load.stop();
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
});

test('a load balancer that checks readiness loses no call when a replica stops', async () => {
  // Ten minutes, so that the balancer has learned of it in time on the slowest machine.
  const { api, gateway, load } = await start({ HEADGATE_DRAIN_DELAY: '10m' });
  gateway.kill('SIGTERM');
  for (;;) {
    const { status } = await ask(`${gateway.adminUrl}/health/ready`);
    if (status === 503) break;
  }
  await load.stop();
  // Another signal ends the drain delay, and nothing is in flight any more. It is no SIGTERM, because
  // the same signal again within a moment is the first one.
  gateway.kill('SIGINT');
  expect(await gateway.ended).toEqual({ code: 130, signal: null });
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
  expect(gateway.log.count('call')).toBe(api.operations);
});
