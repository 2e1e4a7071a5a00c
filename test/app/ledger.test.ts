// @module-tag needs-redis-server
import type { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { composeSharedLedgerOn } from '../support/composed-shared-ledger.ts';
import { Desk } from '../support/ledger-desk.ts';
import { startRedis } from '../support/redis-server.ts';

const TIMEOUT_MS = 10_000;

/** The host's clock, whose timers are a hundred times as fast, and that knows which are set. */
function hastyClock(): { clock: Clock; delays: () => number[] } {
  const pending = new Map<symbol, number>();
  const clock: Clock = {
    ...systemClock,
    after(delayMs, run) {
      const mark = Symbol(delayMs);
      pending.set(mark, delayMs);
      const timer = systemClock.after(delayMs / 100, () => {
        pending.delete(mark);
        run();
      });
      return {
        cancel() {
          pending.delete(mark);
          timer.cancel();
        },
      };
    },
  };
  return { clock, delays: () => [...pending.values()] };
}

test('a ledger that is closed while Redis owes it an answer leaves nothing running', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { clock, delays } = hastyClock();
  const composed = await composeSharedLedgerOn(redis, { clock, timeoutMs: TIMEOUT_MS });
  redis.signal('SIGSTOP');
  await expect.poll(delays, { interval: 1 }).toEqual([TIMEOUT_MS]);
  await composed.close();
  await expect.poll(delays, { interval: 1 }).toEqual([]);
});

type Harm = readonly [what: string, why: RegExp, harm: (client: Redis) => Promise<unknown>];
const HARMS: Harm[] = [
  ...['state', 'tickets', 'leases', 'held', 'offers', 'replicas'].map((end): Harm => {
    const key = `h:{b}:${end}`;
    return [`has a text at ${key}`, /WRONGTYPE/, (client) => client.set(key, 'nonsense')];
  }),
  [
    'has a state that nobody wrote',
    /attempt to index/,
    (client) => client.hset('h:{b}:state', 'layout', 3, 'revision', 'x', 'bucket', 'nonsense'),
  ],
  ['has no memory left', /OOM/, (client) => client.config('SET', 'maxmemory', '1')],
  ['is only a copy', /READONLY/, (client) => client.replicaof('127.0.0.1', 1)],
  [
    'lets us run no script',
    /NOPERM/,
    (client) => client.call('ACL', 'SETUSER', 'default', '-evalsha', '-eval'),
  ],
  [
    'does not let us at our keys',
    /NOPERM/,
    (client) => client.call('ACL', 'SETUSER', 'default', 'resetkeys', '~other:*'),
  ],
];

test.concurrent.each(HARMS)(
  'a Redis that %s is done without, and the log says why',
  async (_what, why, harm) => {
    const redis = await startRedis();
    const composed = await composeSharedLedgerOn(redis, { clock: systemClock, timeoutMs: 5000 });
    try {
      await harm(redis.client);
      const desk = new Desk(composed.ledger, systemClock, composed.places);
      const asked = desk.ask();
      await vi.waitFor(() => expect(asked.state.kind).toBe('granted'));
      desk.answer(asked);
      expect(composed.log.named('ledger')[0]).toMatchObject({ level: 'warn', ledger: 'local' });
      expect(composed.log.named('ledger')[0]?.['reason']).toMatch(why);
    } finally {
      await composed.close();
      await redis.stop();
    }
  },
);
