// @module-tag needs-redis-server
import type { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { composeSharedLedgerOn } from '../support/composed-shared-ledger.ts';
import { LedgerDriver } from '../support/ledger-driver.ts';
import { startRedis } from '../support/redis-server.ts';

const TIMEOUT_MS = 10_000;

/** The host's clock with timers that run a hundred times as fast, and a list of pending timers. */
function fastClock(): { clock: Clock; delays: () => number[] } {
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

test('a ledger that is closed while it waits for Redis leaves no timer', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { clock, delays } = fastClock();
  const composed = await composeSharedLedgerOn(redis, { clock, timeoutMs: TIMEOUT_MS });
  redis.signal('SIGSTOP');
  await expect.poll(delays, { interval: 1 }).toEqual([TIMEOUT_MS]);
  await composed.close();
  await expect.poll(delays, { interval: 1 }).toEqual([]);
});

type Fault = readonly [what: string, reason: RegExp, cause: (client: Redis) => Promise<unknown>];
const FAULTS: Fault[] = [
  ...['state', 'tickets', 'leases', 'held', 'offers', 'replicas'].map((end): Fault => {
    const key = `h:{b}:${end}`;
    return [`has a string at ${key}`, /WRONGTYPE/, (client) => client.set(key, 'nonsense')];
  }),
  [
    'has an invalid state',
    /attempt to index/,
    (client) => client.hset('h:{b}:state', 'layout', 3, 'revision', 'x', 'bucket', 'nonsense'),
  ],
  ['has no memory left', /OOM/, (client) => client.config('SET', 'maxmemory', '1')],
  ['is a read-only replica', /READONLY/, (client) => client.replicaof('127.0.0.1', 1)],
  [
    'forbids scripts',
    /NOPERM/,
    (client) => client.call('ACL', 'SETUSER', 'default', '-evalsha', '-eval'),
  ],
  [
    'forbids our keys',
    /NOPERM/,
    (client) => client.call('ACL', 'SETUSER', 'default', 'resetkeys', '~other:*'),
  ],
];

test.concurrent.each(FAULTS)(
  'a Redis that %s is replaced by the local ledger, and the log has the reason',
  async (_what, reason, cause) => {
    const redis = await startRedis();
    const composed = await composeSharedLedgerOn(redis, { clock: systemClock, timeoutMs: 5000 });
    try {
      await cause(redis.client);
      const driver = new LedgerDriver(composed.ledger, systemClock, composed.permits);
      const asked = driver.ask();
      await vi.waitFor(() => expect(asked.state.kind).toBe('granted'));
      driver.answer(asked);
      expect(composed.log.named('ledger')[0]).toMatchObject({ level: 'warn', ledger: 'local' });
      expect(composed.log.named('ledger')[0]?.['reason']).toMatch(reason);
    } finally {
      await composed.close();
      await redis.stop();
    }
  },
);
