// @module-tag needs-redis-server
import { expect, test } from 'vitest';
import { openRedisStore } from '../../../src/ledger/shared/redis/store.ts';
import { makeLog } from '../../../src/telemetry/log.ts';
import { CapturedLog } from '../../support/captured-log.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startRedis } from '../../support/redis-server.ts';

test('a subscription that is refused after a reconnection is logged and tried again', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const log = new CapturedLog();
  const store = openRedisStore({
    address: {
      topology: { kind: 'single', at: { host: '127.0.0.1', port: redis.port } },
      db: 0,
      tls: false,
      username: undefined,
      password: undefined,
    },
    timeoutMs: 100,
    ca: undefined,
    cert: undefined,
    key: undefined,
    prefix: 'h',
    replica: 'r',
    onMessage: () => undefined,
    log: makeLog({ level: 'debug', replica: 'r', clock: new FakeClock(), destination: log }),
  });
  onTestFinished(() => store.close());
  const subscribers = async (): Promise<unknown> => redis.client.pubsub('NUMSUB', 'h:replica:r');
  await expect.poll(subscribers).toEqual(['h:replica:r', 1]);
  await redis.client.call('ACL', 'SETUSER', 'default', 'resetchannels');
  await redis.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await log.wait('redis subscription', 1);
  await redis.client.call('ACL', 'SETUSER', 'default', 'allchannels');
  await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await expect.poll(subscribers).toEqual(['h:replica:r', 1]);
});
