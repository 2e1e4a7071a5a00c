// @module-tag needs-redis-server
import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGateway } from '../support/gateway.ts';
import { patientClock } from '../support/patient-clock.ts';
import { startRedis } from '../support/redis-server.ts';

const LIMIT = 4;

test('observe mode learns a new bucket in Redis, and says what would have been', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const azion = await startAzion({ limits: { read: { limit: LIMIT, periodMs: 60_000 } } });
  onTestFinished(() => azion.close());
  const gateway = await startGateway({
    upstream: azion.url,
    clock: patientClock,
    settings: {
      HEADGATE_MODE: 'observe',
      HEADGATE_REDIS_URL: redis.url,
      HEADGATE_REDIS_TIMEOUT: '1m',
      HEADGATE_MAX_WAIT: '10m',
    },
  });
  onTestFinished(() => gateway.stop());
  const statuses: number[] = [];
  for (let i = 0; i < LIMIT + 2; i++) {
    const { status } = await ask(`${gateway.url}/domains`, {
      headers: { authorization: 'token observed' },
    });
    statuses.push(status);
  }
  expect(statuses).toEqual([200, 200, 200, 200, 429, 429]);
  const lines = await gateway.log.wait('call', LIMIT + 2);
  const waits = lines.map((line) => Number(line['wouldWaitMs']));
  expect(waits.slice(0, LIMIT)).toEqual([0, 0, 0, 0]);
  expect(waits.at(-1)).toBeGreaterThan(1000);
  expect(lines[LIMIT]).toMatchObject({ limit: LIMIT });
});
