import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ask } from '../support/ask.ts';
import type { TestGateway } from '../support/gateway.ts';
import { startFaultProxy } from '../support/redis-proxy.ts';
import { startRedis, type RedisProgram } from '../support/redis-server.ts';
import { setUp, until } from '../support/setup.ts';
import { needs } from '../support/tools.ts';

/** No machine is so busy that a step takes longer. */
const withRedis = (url: string): { settings: Record<string, string> } => ({
  settings: { HEADGATE_REDIS_TIMEOUT: '30s', HEADGATE_REDIS_URL: url },
});
const PROGRAMS: readonly (readonly [string, RedisProgram])[] = [
  ['Redis 6.2', 'redis-6'],
  ["Debian's Redis 7", 'redis-server'],
  ['Valkey 9', 'valkey-9'],
];

async function statusOf(gateway: TestGateway): Promise<number> {
  const headers = { authorization: 'token abc' };
  return (await ask(`${gateway.url}/domains`, { headers })).status;
}

async function ledgerOf(gateway: TestGateway): Promise<string> {
  const { text } = await ask(`${gateway.adminUrl}/health/ready`);
  return z.object({ ledger: z.string() }).parse(JSON.parse(text)).ledger;
}

describe.each(PROGRAMS)('with %s', (_name, program) => {
  const tags = needs(program);

  test('buckets are shared', { tags }, async () => {
    const redis = await startRedis({ program });
    onTestFinished(() => redis.stop());
    const { azion, gateway } = await setUp({}, withRedis(redis.url));
    await until('it works with Redis', async () => (await ledgerOf(gateway)) === 'redis');
    const lines = gateway.log.count('ledger');
    for (let i = 0; i < 5; i++) expect(await statusOf(gateway)).toBe(200);
    expect(azion.seen).toHaveLength(5);
    expect(await ledgerOf(gateway)).toBe('redis');
    expect(await redis.client.keys('headgate:{*}:state')).toHaveLength(1);
    expect(gateway.log.count('ledger')).toBe(lines);
  });

  test('a failover in which both servers live on needs no restart', { tags }, async () => {
    const primary = await startRedis({ program });
    onTestFinished(() => primary.stop());
    const secondary = await startRedis({ program });
    onTestFinished(() => secondary.stop());
    const proxy = await startFaultProxy(primary.port);
    onTestFinished(() => proxy.close());
    // Calls are sent until the new primary is found, however long that takes.
    const limits = { read: { limit: 1_000_000, periodMs: 60_000 } };
    const { gateway } = await setUp({ limits }, withRedis(`redis://127.0.0.1:${proxy.port}`));
    expect(await statusOf(gateway)).toBe(200);

    // Connections stay with the old primary, which from now on refuses to write.
    proxy.leadTo(secondary.port);
    await primary.client.replicaof('127.0.0.1', secondary.port);
    await until('the new primary has the bucket', async () => {
      expect(await statusOf(gateway)).toBe(200);
      const keys = await secondary.client.keys('headgate:{*}:state');
      return keys.length > 0 && (await ledgerOf(gateway)) === 'redis';
    });
  });
});
