import { describe, expect, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Semantics } from '../support/limiter.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const TOKEN = 'token shared';
const LIMIT = 5;

function call(url: string, caller: string, maxWait?: string): Promise<Answer> {
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

describe('a request that cannot be served before its deadline', () => {
  test.each<Semantics>(['fixed', 'aligned', 'sliding', 'leaky'])(
    'is shed at once before a %s limit, and is served after the Retry-After of that answer',
    async (semantics) => {
      const clock = new FakeClock();
      const limits = { read: { limit: LIMIT, periodMs: 2500 } };
      const { gateway } = await setUp({ semantics, limits }, { clock });
      const first = await askMany(LIMIT, () => call(gateway.url, 'early'));
      expect(first.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
      const answer = await call(gateway.url, 'late', '10ms');
      expect(answer.status).toBe(503);
      expect(answer.headers['headgate-error']).toBe('wait-too-long');
      const lines = await gateway.log.wait('call', LIMIT + 1);
      const line = lines.find(({ outcome }) => outcome === 'shed');
      expect(line).toMatchObject({ code: 'wait-too-long', attempts: 0, waitMs: 0 });

      clock.advance(retryAfterOf(answer) * 1000);
      const second = await call(gateway.url, 'late', '10ms');
      expect(second.status).toBe(200);
    },
  );
});

describe('a request that cannot be served before its deadline, while others wait', () => {
  const limits = { read: { limit: LIMIT, periodMs: 30_000 } };

  test.each(['2s', '10s', '25s'])(
    'is served after the Retry-After of its refusal, with a longest wait of %s',
    async (maxWait) => {
      const clock = new FakeClock();
      const settings = { HEADGATE_MAX_WAIT: '1h' };
      const { azion, gateway } = await setUp({ semantics: 'fixed', limits }, { settings, clock });
      await askMany(LIMIT, () => call(gateway.url, 'many'));
      const others = askMany(50, () => call(gateway.url, 'many'));
      const waiting = async (): Promise<number> => (await bucketsOf(gateway))[0]?.waiting ?? 0;
      await until('50 wait', async () => (await waiting()) === 50);

      const refused = await call(gateway.url, 'hasty', maxWait);
      expect(refused.headers['headgate-error']).toBe('wait-too-long');
      const retryAfterMs = retryAfterOf(refused) * 1000;
      // By then, each request that waited and has budget was served.
      const spent = (): Promise<void> =>
        until('the budget is spent', async () => {
          const [bucket] = await bucketsOf(gateway);
          return bucket?.leases === 0 && bucket.remaining === 0;
        });
      // In one jump, grants would be too old before their requests were sent.
      for (let passedMs = 0; passedMs < retryAfterMs; passedMs += 500) {
        clock.advance(500);
        await spent();
      }
      const before = await waiting();
      let answered = false;
      const again = call(gateway.url, 'hasty', maxWait).finally(() => (answered = true));
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

  test('is shed on arrival, and the requests in the queue keep their places', async () => {
    const clock = new FakeClock();
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { clock });
    await askMany(LIMIT, () => call(gateway.url, 'many'));
    const patient = call(gateway.url, 'patient', '60s');
    await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    const refused = await call(gateway.url, 'hasty', '10s');
    expect(refused.status).toBe(503);
    // The other request still waits.
    expect((await bucketsOf(gateway))[0]?.waiting).toBe(1);
    clock.advance(32_000);
    expect((await patient).status).toBe(200);
  });
});
