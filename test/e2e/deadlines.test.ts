import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGateway } from '../support/gateway.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Semantics } from '../support/limiter.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const TOKEN = 'token shared';
const LIMIT = 5;

function askFor(url: string, caller: string, maxWait?: string): Promise<Answer> {
  return ask(`${url}/domains?by=${caller}`, {
    headers: {
      authorization: TOKEN,
      'headgate-caller': caller,
      ...(maxWait === undefined ? {} : { 'headgate-max-wait': maxWait }),
    },
  });
}

function retryAfterOf({ headers }: Answer): number {
  const text = headers['retry-after'] ?? '';
  expect(text).toMatch(/^[1-9]\d*$/);
  return Number(text);
}

describe.concurrent('a request that cannot make its deadline, over real short windows', () => {
  test.each<Semantics>(['fixed', 'aligned', 'sliding', 'leaky'])(
    'is shed at once before a %s limit, and is served when it comes back as told',
    async (semantics) => {
      const limits = { read: { limit: LIMIT, periodMs: 2500 } };
      const azion = await startAzion({ semantics, limits });
      const gateway = await startGateway({ upstream: azion.url });
      try {
        const first = await askMany(LIMIT, () => askFor(gateway.url, 'early'));
        expect(first.map(({ status }) => status)).toEqual(Array.from({ length: LIMIT }, () => 200));
        let answer = await askFor(gateway.url, 'late', '10ms');
        // An aligned window may have ended in between, and then there was something left.
        for (let more = 0; answer.status === 200 && more < LIMIT; more++) {
          answer = await askFor(gateway.url, 'late', '10ms');
        }
        expect(answer.status).toBe(503);
        expect(answer.headers['headgate-error']).toBe('wait-too-long');
        const lines = await gateway.log.wait('call', LIMIT + 1);
        const line = lines.find(({ outcome }) => outcome === 'shed');
        expect(line).toMatchObject({ code: 'wait-too-long', attempts: 0, waitMs: 0 });

        await sleep(retryAfterOf(answer) * 1000);
        const second = await askFor(gateway.url, 'late', '10ms');
        expect(second.status).toBe(200);
      } finally {
        await gateway.stop();
        await azion.close();
      }
    },
  );
});

describe('a request that cannot make its deadline while others wait', () => {
  const limits = { read: { limit: LIMIT, periodMs: 30_000 } };

  test.each(['2s', '10s', '25s'])(
    'is served when it comes back as told, though it waits at most %s',
    async (maxWait) => {
      const clock = new FakeClock();
      const settings = { HEADGATE_MAX_WAIT: '1h' };
      const { azion, gateway } = await setUp({ semantics: 'fixed', limits }, { settings, clock });
      await askMany(LIMIT, () => askFor(gateway.url, 'many'));
      const others = askMany(50, () => askFor(gateway.url, 'many'));
      const waiting = async (): Promise<number> => (await bucketsOf(gateway))[0]?.waiting ?? 0;
      await until('50 wait', async () => (await waiting()) === 50);

      const refused = await askFor(gateway.url, 'hasty', maxWait);
      expect(refused.headers['headgate-error']).toBe('wait-too-long');
      const retryAfterMs = retryAfterOf(refused) * 1000;
      clock.advance(retryAfterMs);
      // By the time it is back, whoever waited and can go has gone.
      const spent = (): Promise<void> =>
        until('the budget is spent', async () => {
          const [bucket] = await bucketsOf(gateway);
          return bucket?.leases === 0 && bucket.remaining === 0;
        });
      await spent();
      const before = await waiting();
      let answered = false;
      const again = askFor(gateway.url, 'hasty', maxWait).finally(() => (answered = true));
      await until('it waits or was answered', async () => answered || (await waiting()) > before);
      for (let steps = 0; steps < 120; steps++) {
        clock.advance(250);
        await spent();
        if (answered) break;
      }
      expect((await again).status).toBe(200);
      const hasty = azion.seen.filter(({ url }) => url.endsWith('by=hasty'));
      expect(hasty).toHaveLength(1);
      await gateway.stop();
      await others;
    },
  );

  test('waits as long as it may, and is shed when its time is up', async () => {
    const clock = new FakeClock();
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { clock });
    await askMany(LIMIT, () => askFor(gateway.url, 'many'));
    const patient = askFor(gateway.url, 'patient', '60s');
    await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    const before = clock.now();
    const refused = await askFor(gateway.url, 'hasty', '10s');
    expect(refused.status).toBe(503);
    // Nobody's place was lost over it.
    expect((await bucketsOf(gateway))[0]?.waiting).toBe(1);
    clock.advance(32_000 - (clock.now() - before));
    expect((await patient).status).toBe(200);
  });
});
