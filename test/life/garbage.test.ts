import { describe, expect, onTestFinished, test } from 'vitest';
import { startAzion } from '../support/azion.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import { startRedis } from '../support/redis-server.ts';
import { putLoadOn } from './load.ts';
import { needs } from '../support/tools.ts';

const LIMITS = { read: { limit: 10_000_000, periodMs: 60_000 } };
const CALLERS = 8;
/** Young generation in MB: large enough that most calls live between two minor collections. */
const YOUNG_GENERATION = '--min-semi-space-size=16';
/** Enough for nine minor collections of the young generation. */
const CALLS = 4000;
/** On a busy machine, thousands of calls take minutes. */
const PATIENCE = { timeout: 1_800_000 };
/** Makes the gateway log a line about its garbage collections at each SIGUSR2. */
const PROBE = ['--import', new URL('garbage-probe.ts', import.meta.url).href];

async function startLoaded(
  nodeArgs: readonly string[],
  settings: Record<string, string> = {},
): Promise<GatewayProcess> {
  const api = await startAzion({ limits: LIMITS });
  onTestFinished(() => api.close());
  const gateway = await startGatewayProcess({ upstream: api.url, settings, nodeArgs });
  onTestFinished(() => gateway.stop());
  const load = putLoadOn(gateway.url, { callers: CALLERS });
  onTestFinished(() => load.stop());
  await logged(gateway, 3000);
  return gateway;
}

/** Resolves when `count` calls are logged, however long all of them take. */
async function logged({ log }: GatewayProcess, count: number): Promise<void> {
  while (log.count('call') < count) {
    await log.wait('call', Math.min(count, log.count('call') + 100));
  }
}

/** The share of what the next calls allocate that minor collections keep. */
async function shareKept(gateway: GatewayProcess): Promise<number> {
  const { log } = gateway;
  const from = log.count('call');
  const before = log.count('garbage');
  gateway.kill('SIGUSR2');
  await logged(gateway, from + CALLS);
  gateway.kill('SIGUSR2');
  const lines = await log.wait('garbage', before + 2);
  const { seen, kept } = lines.at(-1) ?? {};
  return Number(kept) / Number(seen);
}

/** A third is kept where the gateway holds its calls in Sets (docs/decisions/0009). */
describe('minor collections keep less than a tenth of what calls allocate', PATIENCE, () => {
  test('with the local ledger', async () => {
    const gateway = await startLoaded([YOUNG_GENERATION, ...PROBE]);
    expect(await shareKept(gateway)).toBeLessThan(0.1);
  });

  test('with the shared ledger', { tags: needs('redis-server') }, async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const settings = { HEADGATE_REDIS_URL: redis.url, HEADGATE_REDIS_TIMEOUT: '1m' };
    const gateway = await startLoaded([YOUNG_GENERATION, ...PROBE], settings);
    expect(await shareKept(gateway)).toBeLessThan(0.1);
  });
});

test(
  'V8 allocates no object in the old generation because others of its kind survived',
  PATIENCE,
  async () => {
    const gateway = await startLoaded(['--trace-pretenuring-statistics']);
    gateway.kill('SIGTERM');
    await gateway.ended;
    expect(gateway.log.text).not.toContain('=> tenure');
  },
);
