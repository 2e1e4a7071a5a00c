// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { patientClock } from '../support/patient-clock.ts';
import { startRedis } from '../support/redis-server.ts';

/** Several APIs whose budgets all replicas share in Redis. */

async function api(limit: number): Promise<Api> {
  let left = limit;
  const started = await startApi((_incoming, outgoing) => {
    left--;
    outgoing.setHeader('x-ratelimit-limit', limit);
    outgoing.setHeader('x-ratelimit-remaining', Math.max(0, left));
    outgoing.setHeader('x-ratelimit-reset', Math.ceil(Date.now() / 1000) + 3600);
    outgoing.writeHead(left < 0 ? 429 : 200);
    outgoing.end();
  });
  onTestFinished(() => started.close());
  return started;
}

test('replicas share the budget of each API, and no budget with another API', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const [one, two] = [await api(4), await api(1000)];
  const start = async (): Promise<TestGateway> => {
    const gateway = await startGateway({
      clock: patientClock,
      settings: {
        HEADGATE_UPSTREAM_URL: '',
        HEADGATE_REDIS_URL: redis.url,
        HEADGATE_REDIS_TIMEOUT: '1m',
      },
      files: {
        'headgate.yaml': `maxWait: 0
apis: {one: {upstreamUrl: "${one.url}", match: {path: /one/**}}, two: {upstreamUrl: "${two.url}"}}`,
      },
    });
    onTestFinished(() => gateway.stop());
    return gateway;
  };
  const replicas = [await start(), await start()];
  const headers = { authorization: 'token of-the-caller' };
  const statuses = { one: [] as number[], two: [] as number[] };
  for (let i = 0; i < 8; i++) {
    const { url = '' } = replicas[i % 2] ?? {};
    statuses.one.push((await ask(`${url}/one/a`, { headers })).status);
    statuses.two.push((await ask(`${url}/a`, { headers })).status);
  }
  expect(statuses.two).toEqual(Array.from({ length: 8 }, () => 200));
  expect(statuses.one).toContain(503);
  expect(one.seen.length).toBeLessThanOrEqual(4);
  const keys = await redis.client.keys('*');
  const prefixes = new Set(keys.map((key) => key.split(':').slice(0, 2).join(':')));
  expect([...prefixes].toSorted()).toEqual(['headgate:one', 'headgate:two']);
});
