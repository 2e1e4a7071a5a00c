// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { patientClock } from '../support/patient-clock.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

const LOGIN = 'ops@example.com:password-of-the-fleet';

interface Setup {
  readonly api: Api;
  readonly redis: RedisServer;
  readonly issued: string[];
  readonly start: (login?: string) => Promise<TestGateway>;
}

async function setUp(): Promise<Setup> {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const issued: string[] = [];
  const api = await startApi(({ url, headers }, outgoing) => {
    if (url !== '/tokens') return outgoing.end(headers.authorization);
    issued.push(`issued-secret-${issued.length + 1}`);
    const times = {
      created_at: '2019-04-01 13:53:28+00:00',
      expires_at: '2019-04-02 13:53:28+00:00',
    };
    outgoing.statusCode = 201;
    return outgoing.end(JSON.stringify({ token: issued.at(-1), ...times }));
  });
  onTestFinished(() => api.close());
  const start = async (login = LOGIN): Promise<TestGateway> => {
    const gateway = await startGateway({
      upstream: api.url,
      clock: patientClock,
      settings: {
        HEADGATE_TOKEN_BASIC: login,
        HEADGATE_REDIS_URL: redis.url,
        HEADGATE_REDIS_TIMEOUT: '1m',
      },
    });
    onTestFinished(() => gateway.stop());
    return gateway;
  };
  return { api, redis, issued, start };
}

async function sentBy({ url }: TestGateway): Promise<string> {
  return (await ask(`${url}/domains`)).text;
}

test('one replica fetches the token for all, and later ones find it', async () => {
  const { issued, start } = await setUp();
  const replicas = await Promise.all([start(), start(), start()]);
  replicas.push(await start());
  for (const replica of replicas) expect(await sentBy(replica)).toBe('token issued-secret-1');
  expect(issued).toHaveLength(1);
});

test('Redis has the token for as long as it is valid, and only with the login can it be read', async () => {
  const { redis, issued, start } = await setUp();
  await start();
  const sealed = (await redis.client.get('headgate:{token}:value')) ?? '';
  expect(Buffer.from(sealed, 'base64').toString('latin1')).not.toContain('issued-secret');
  const lifetimeMs = await redis.client.pttl('headgate:{token}:value');
  expect(lifetimeMs).toBeGreaterThan(0);
  expect(lifetimeMs).toBeLessThanOrEqual(86_400_000);

  await redis.client.del('headgate:{token}:claim');
  const other = await start('ops@example.com:another-password');
  expect(await sentBy(other)).toBe('token issued-secret-2');
  // A value that was changed counts as none.
  await redis.client.del('headgate:{token}:claim');
  const changed = Buffer.from((await redis.client.get('headgate:{token}:value')) ?? '', 'base64');
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  await redis.client.set('headgate:{token}:value', changed.toString('base64'), 'PX', 60_000);
  expect(await sentBy(await start())).toBe('token issued-secret-3');
  expect(issued).toHaveLength(3);
});
