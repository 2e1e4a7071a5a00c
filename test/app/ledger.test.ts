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

const ENDS = ['state', 'tickets', 'leases', 'held', 'offers', 'replicas'];
type Fault = readonly [what: string, reason: RegExp, cause: (client: Redis) => Promise<unknown>];
const FAULTS_OF_A_BUCKET: Fault[] = [
  ...ENDS.map((end): Fault => {
    const key = `h:{b}:${end}`;
    return [`has a string at ${key}`, /WRONGTYPE/, (client) => client.set(key, 'nonsense')];
  }),
  [
    'has an invalid state',
    /attempt to index/,
    (client) => client.hset('h:{b}:state', 'layout', 3, 'revision', 'x', 'bucket', 'nonsense'),
  ],
  [
    'has a state of an unknown layout',
    /layout 99/,
    (client) => client.hset('h:{b}:state', 'layout', 99),
  ],
];
const FAULTS_OF_THE_SERVER: Fault[] = [
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

test.concurrent.each(FAULTS_OF_A_BUCKET)(
  'a Redis that %s is replaced by the local ledger for this bucket alone, until it is repaired',
  async (_what, reason, cause) => {
    const redis = await startRedis();
    const composed = await composeSharedLedgerOn(redis, { clock: systemClock, timeoutMs: 5000 });
    try {
      await cause(redis.client);
      const driver = new LedgerDriver(composed.ledger, systemClock, composed.permits);
      const asked = driver.ask();
      await vi.waitFor(() => expect(asked.state.kind).toBe('granted'));
      const other = driver.ask({ bucket: 'other' });
      await vi.waitFor(() => expect(other.state.kind).toBe('granted'));
      expect(await redis.client.exists('h:{other}:leases')).toBe(1);
      const [line] = composed.log.named('ledger');
      expect(line).toMatchObject({ level: 'warn', ledger: 'local', bucket: 'b' });
      expect(line?.['reason']).toMatch(reason);
      const ids = composed.ledger.snapshot().map(({ id }) => id);
      expect(ids.toSorted()).toEqual(['b', 'other']);

      await redis.client.del(...ENDS.map((end) => `h:{b}:${end}`));
      await vi.waitFor(() => expect(composed.log.named('ledger')).toHaveLength(2), 30_000);
      expect(composed.log.named('ledger')[1]).toMatchObject({ ledger: 'redis', bucket: 'b' });
      await vi.waitFor(async () => expect(await redis.client.exists('h:{b}:leases')).toBe(1));
      for (const one of [asked, other]) driver.answer(one);
      expect(composed.modes).toEqual(['redis']);
    } finally {
      await composed.close();
      await redis.stop();
    }
  },
);

test.concurrent.each(FAULTS_OF_THE_SERVER)(
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
      const [line] = composed.log.named('ledger');
      expect(line).toMatchObject({ level: 'warn', ledger: 'local' });
      expect(line).not.toHaveProperty('bucket');
      expect(line?.['reason']).toMatch(reason);
      expect(composed.modes).toEqual(['redis', 'local']);
    } finally {
      await composed.close();
      await redis.stop();
    }
  },
);
