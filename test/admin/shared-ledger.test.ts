// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { ask } from '../support/ask.ts';
import { startOtlpReceiver } from '../support/otlp-receiver.ts';
import { startRedis } from '../support/redis-server.ts';
import { bucketsOf } from '../support/setup.ts';
import { startAzion } from '../support/azion.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';

const ready = z.object({ ledger: z.string() });

test('with Redis, health, metrics and traces show the shared ledger', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const api = await startAzion();
  onTestFinished(() => api.close());
  const receiver = await startOtlpReceiver();
  onTestFinished(() => receiver.close());
  const gateway = await startGatewayProcess({
    upstream: api.url,
    settings: {
      HEADGATE_REDIS_URL: redis.url,
      HEADGATE_REDIS_TIMEOUT: '1m',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '50',
    },
  });
  onTestFinished(() => gateway.stop());
  const { url, adminUrl } = gateway;
  const call = () => ask(`${url}/domains`, { headers: { Authorization: 'token abc' } });
  const ledger = async () => ready.parse(JSON.parse((await ask(`${adminUrl}/health/ready`)).text));

  expect((await call()).status).toBe(200);
  expect(await ledger()).toEqual({ ledger: 'redis' });
  const metrics = (await ask(`${adminUrl}/metrics`)).text;
  expect(metrics).toContain('headgate_ledger_mode{mode="redis"} 1\n');
  expect(metrics).toMatch(/^headgate_ledger_step_seconds_count [1-9]/m);
  expect(metrics).toMatch(/^headgate_ledger_step_tickets_sum [1-9]/m);

  // The request to the ledger took a round trip, and no ticket had to wait.
  const named = (name: string) => receiver.spans.find((span) => span.name === name);
  await expect.poll(() => named('GET read')?.name).toBe('GET read');
  const requests = receiver.spans.filter(
    ({ parentSpanId, name }) => parentSpanId === named('GET read')?.spanId && name === 'ledger',
  );
  expect(requests).toHaveLength(1);
  expect(named('queue')).toBeUndefined();

  await redis.kill();
  await expect.poll(async () => (await call()).status).toBe(200);
  await expect.poll(ledger).toEqual({ ledger: 'local' });
  expect((await ask(`${adminUrl}/metrics`)).text).toContain(
    'headgate_ledger_mode{mode="local"} 1\n',
  );
});

test('waiting counts the tickets of all replicas, and waitingHereByCaller those of one', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const api = await startAzion({ limits: { read: { limit: 3, periodMs: 3_600_000 } } });
  onTestFinished(() => api.close());
  const settings = {
    HEADGATE_REDIS_URL: redis.url,
    HEADGATE_REDIS_TIMEOUT: '1m',
    HEADGATE_MAX_WAIT: '2h',
  };
  const start = async () => {
    const gateway = await startGatewayProcess({ upstream: api.url, settings });
    onTestFinished(() => gateway.stop());
    return gateway;
  };
  const [one, other] = await Promise.all([start(), start()]);
  const call = ({ url }: { url: string }, caller: string) =>
    ask(`${url}/domains`, {
      headers: { Authorization: 'token abc', 'Headgate-Caller': caller },
    });
  for (let n = 0; n < 3; n++) expect((await call(one, 'first')).status).toBe(200);
  // The end of the gateways ends them.
  void Promise.allSettled([call(one, 'a'), call(one, 'a'), call(other, 'b')]);
  const numbers = async (gateway: typeof one) =>
    (await bucketsOf(gateway)).map((bucket) => [bucket.waiting, bucket.waitingHereByCaller]);
  await expect.poll(() => numbers(one)).toEqual([[3, { a: 2 }]]);
  await expect.poll(() => numbers(other)).toEqual([[3, { b: 1 }]]);
});
