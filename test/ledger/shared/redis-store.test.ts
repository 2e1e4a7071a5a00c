// @module-tag needs-redis-server
import { expect, test } from 'vitest';
import { isReadOnly } from '../../../src/ledger/shared/redis/connection.ts';
import { openRedisStore, type RedisStore } from '../../../src/ledger/shared/redis/store.ts';
import { makeLog } from '../../../src/telemetry/log.ts';
import { CapturedLog } from '../../support/captured-log.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startRedis } from '../../support/redis-server.ts';

function open(port: number, log = new CapturedLog()): RedisStore {
  return openRedisStore({
    address: {
      topology: { kind: 'single', at: { host: '127.0.0.1', port } },
      db: 0,
      tls: false,
      username: undefined,
      password: undefined,
    },
    // No machine is so busy that a command takes longer.
    timeoutMs: 60_000,
    ca: undefined,
    cert: undefined,
    key: undefined,
    prefix: 'h',
    replica: 'r',
    onMessage: () => undefined,
    log: makeLog({ level: 'debug', replica: 'r', clock: new FakeClock(), destination: log }),
  });
}

test.each([
  ["READONLY You can't write against a read only replica.", true],
  // Redis 7
  ["READONLY You can't write against a read only replica. script: 5e, on @user_script:1.", true],
  // Redis 6.2
  [
    "ERR Error running script (call to f_5e): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
    true,
  ],
  ['ERR unknown command READONLY', false],
  ['WRONGTYPE Operation against a key', false],
])('the reply %j comes from a read-only replica: %s', (message, expected) => {
  expect(isReadOnly(message)).toBe(expected);
});

test('connections are opened again on request', async ({ onTestFinished }) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const store = open(redis.port);
  onTestFinished(() => store.close());
  const ids = async (): Promise<string[]> => {
    const list = String(await redis.client.client('LIST'));
    const own = list.split('\n').filter((line) => line.includes('name=headgate'));
    return own.map((line) => /^id=(\d+)/.exec(line)?.[1] ?? '');
  };
  await expect.poll(ids).toHaveLength(2);
  const before = await ids();
  await expect.poll(() => store.presence('').catch(() => undefined)).toMatchObject({ replicas: 1 });
  // Only a connection that is ready is opened again; the other one subscribes when it is.
  await expect.poll(() => redis.client.pubsub('NUMSUB', 'h:replica:r')).toEqual(['h:replica:r', 1]);
  store.renew();
  await expect.poll(async () => (await ids()).filter((id) => !before.includes(id))).toHaveLength(2);
  await expect.poll(() => store.presence('').catch(() => undefined)).toMatchObject({ replicas: 1 });
});

test('a subscription that is refused after a reconnection is logged and tried again', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const log = new CapturedLog();
  const store = open(redis.port, log);
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
