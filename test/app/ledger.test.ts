// @module-tag needs-redis-server
import type { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import type { BuiltLedger } from '../../src/app/ledger.ts';
import { makeSharedLedger } from '../../src/app/shared-ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { CapturedLog } from '../support/captured-log.ts';
import { FakePermits, LedgerDriver } from '../support/ledger-driver.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** On the fast clock, a second of the host. */
const TIMEOUT_MS = 100_000;

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

interface LedgerOnRedis extends BuiltLedger {
  readonly log: CapturedLog;
  readonly permits: FakePermits;
}

/** Makes the ledger on this server as the program does. Its keys begin with `h`. */
async function makeLedgerOn(
  redis: RedisServer,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<LedgerOnRedis> {
  const log = new CapturedLog();
  const permits = new FakePermits(10);
  const built = await makeSharedLedger(
    {
      atEndOfTurn: (run) => run(),
      secret: undefined,
      currentConfig: () => ({ maxQueue: 10, limit: { limit: 5, periodMs: 60_000 } }),
      clock,
      random: seededRandom(1),
      apiClock: new ApiClock(),
      socketPermits: permits,
      log: makeLog({ level: 'debug', replica: 'r', clock, destination: log }),
      observer: { step: () => undefined, mode: () => undefined },
    },
    {
      address: {
        topology: { kind: 'single', at: { host: '127.0.0.1', port: redis.port } },
        db: 0,
        tls: false,
        username: undefined,
        password: undefined,
      },
      prefix: 'h',
      timeoutMs,
      ca: undefined,
      cert: undefined,
      key: undefined,
    },
  );
  return { ...built, log, permits };
}

test('a ledger that is closed while it waits for Redis leaves no timer', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { clock, delays } = fastClock();
  const built = await makeLedgerOn(redis, { clock, timeoutMs: TIMEOUT_MS });
  redis.signal('SIGSTOP');
  await expect.poll(delays, { interval: 1 }).toEqual([TIMEOUT_MS]);
  await built.close();
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
    const built = await makeLedgerOn(redis, { clock: systemClock, timeoutMs: 5000 });
    try {
      await cause(redis.client);
      const driver = new LedgerDriver(built.ledger, systemClock, built.permits);
      const asked = driver.ask();
      await vi.waitFor(() => expect(asked.state.kind).toBe('granted'));
      driver.answer(asked);
      expect(built.log.named('ledger')[0]).toMatchObject({ level: 'warn', ledger: 'local' });
      expect(built.log.named('ledger')[0]?.['reason']).toMatch(reason);
    } finally {
      await built.close();
      await redis.stop();
    }
  },
);
