// @module-tag needs-redis-server
import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';
import { startRedis } from '../support/redis-server.ts';
import { bucketsOf, until } from '../support/setup.ts';

test.concurrent.each([
  ['does not answer', 'SIGSTOP'],
  ['is gone', 'SIGKILL'],
] as const)(
  'SIGTERM while Redis %s: waiting requests are refused, and the process exits with 0',
  async (_how, signal) => {
    const redis = await startRedis();
    const azion = await startAzion({
      semantics: 'fixed',
      limits: { read: { limit: 1, periodMs: 60_000 } },
    });
    const gateway = await startGatewayProcess({
      upstream: azion.url,
      settings: {
        HEADGATE_REDIS_URL: redis.url,
        HEADGATE_REDIS_TIMEOUT: '1s',
        HEADGATE_DRAIN_TIMEOUT: '200ms',
      },
    });
    try {
      const headers = { authorization: 'token one' };
      expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
      const waiting = ask(`${gateway.url}/domains`, { headers });
      await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
      redis.signal(signal);
      gateway.kill('SIGTERM');
      expect((await waiting).status).toBe(503);
      // A timer that is left would keep the process alive, and the test would time out.
      expect(await gateway.ended).toEqual({ code: 0, signal: null });
      expect(gateway.log.named('stopped')).toHaveLength(1);
    } finally {
      await gateway.stop();
      await azion.close();
      await redis.stop();
    }
  },
);
