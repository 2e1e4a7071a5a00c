// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import type { Semantics } from '../support/limiter.ts';
import { learnTheTime, measured, startFleet, TOKEN, type Fleet } from '../support/redis-fleet.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

/** Wide enough that replicas hold stock, and used up again and again. */
const LIMIT = 800;
const PERIOD_MS = 1500;
const BUDGETS = 5;
const CALLERS = 60;

describe.each<Semantics>(['fixed', 'sliding'])(
  'three replicas before a wide %s limit',
  (semantics) => {
    let redis: RedisServer;
    let fleet: Fleet;
    let answers: Answer[];

    beforeAll(async () => {
      redis = await startRedis();
      const limits = { read: { limit: LIMIT, periodMs: PERIOD_MS } };
      fleet = await startFleet({ redisUrl: redis.url, api: { semantics, limits } });
      await learnTheTime(fleet);
      answers = await askAll(fleet, LIMIT * BUDGETS);
    });
    afterAll(async () => {
      await fleet.close();
      await redis.stop();
    });

    test('no caller sees anything but the answer', () => {
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
      expect(answers).toHaveLength(LIMIT * BUDGETS);
    });

    test('the API refuses nothing, and serves each call once', () => {
      const seen = measured(fleet);
      expect(seen.filter(({ status }) => status === 429)).toEqual([]);
      expect(new Set(seen.map(({ url }) => url)).size).toBe(LIMIT * BUDGETS);
      expect(seen).toHaveLength(LIMIT * BUDGETS);
    });

    test('most calls needed no step of their own', async () => {
      let steps = 0;
      for (const { adminUrl } of fleet.replicas) {
        const { text } = await ask(`${adminUrl}/metrics`);
        steps += Number(/^headgate_ledger_step_seconds_count (\d+)$/m.exec(text)?.[1]);
      }
      expect(steps).toBeLessThan((LIMIT * BUDGETS) / 2);
    });
  },
);

/** Each caller asks again as soon as it is answered. */
async function askAll({ replicas, agent }: Fleet, calls: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  async function askOn(caller: number): Promise<void> {
    const url = replicas[caller % replicas.length]?.url ?? '';
    const headers = { authorization: TOKEN, 'headgate-caller': `caller-${caller}` };
    while (next < calls) {
      answers.push(await ask(`${url}/domains?call=${next++}`, { headers, agent }));
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, caller) => askOn(caller)));
  return answers;
}
