// @module-tag needs-redis-server
import { LearnedDraws } from '../../src/draws/learned-draws.ts';
import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import type { BuiltLedger } from '../../src/app/ledger.ts';
import { makeSharedLedger } from '../../src/app/shared-ledger.ts';
import type { LedgerMode } from '../../src/ledger/ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { CapturedLog, type LogLine } from '../support/captured-log.ts';
import { FakePermits, LedgerDriver } from '../support/ledger-driver.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { until } from '../support/setup.ts';

/** On the fast clock, a thousand seconds of the host: more than any test takes. */
const TIMEOUT_MS = 100_000_000;

interface FastClock {
  readonly clock: Clock;
  /** The delays of the timers that are pending. */
  readonly delays: () => number[];
  /** Lets the pending timers with this delay fire at once. */
  readonly fire: (delayMs: number) => void;
}

/** The host's clock with timers that run a hundred times as fast. */
function fastClock(): FastClock {
  const pending = new Map<symbol, { readonly delayMs: number; readonly fire: () => void }>();
  const clock: Clock = {
    ...systemClock,
    after(delayMs, run) {
      const mark = Symbol(delayMs);
      const cancel = (): void => {
        pending.delete(mark);
        timer.cancel();
      };
      const fire = (): void => {
        cancel();
        run();
      };
      const timer = systemClock.after(delayMs / 100, fire);
      pending.set(mark, { delayMs, fire });
      return { cancel };
    },
  };
  return {
    clock,
    delays: () => [...pending.values()].map(({ delayMs }) => delayMs),
    fire(wanted) {
      for (const { delayMs, fire } of pending.values()) if (delayMs === wanted) fire();
    },
  };
}

interface LedgerOnRedis extends BuiltLedger {
  readonly log: CapturedLog;
  readonly permits: FakePermits;
  /** The modes of the ledger since it was made, the newest last. */
  readonly modes: readonly LedgerMode[];
  /** The log lines about changes of the ledger since it was made. */
  readonly changes: () => LogLine[];
}

/**
 * Makes the ledger on this server as the program does, and resolves when it works with Redis: a ledger
 * whose connection takes longer than two seconds begins without it. Its keys begin with `h`.
 */
async function makeLedgerOn(
  redis: RedisServer,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<LedgerOnRedis> {
  const log = new CapturedLog();
  const permits = new FakePermits(10);
  const modes: LedgerMode[] = [];
  const built = await makeSharedLedger(
    {
      atEndOfTurn: (run) => run(),
      secret: undefined,
      currentConfig: () => ({
        maxQueue: 10,
        maxBuckets: 100,
        maxBucketsPerOwner: undefined,
        spread: 0.2,
        callers: [],
        limit: { limit: 5, periodMs: 60_000 },
      }),
      clock,
      random: seededRandom(1),
      apiClock: new ApiClock(),
      socketPermits: permits,
      log: makeLog({ level: 'debug', replica: 'r', clock, destination: log }),
      observer: { step: () => undefined, mode: (mode) => void modes.push(mode) },
      learned: new LearnedDraws(),
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
  await until('it works with Redis', () => modes.at(-1) === 'redis');
  modes.splice(0, modes.length - 1);
  const before = log.count('ledger');
  return { ...built, log, permits, modes, changes: () => log.named('ledger').slice(before) };
}

test('a ledger that is closed while it waits for Redis leaves no timer', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { clock, delays, fire } = fastClock();
  const built = await makeLedgerOn(redis, { clock, timeoutMs: TIMEOUT_MS });
  redis.signal('SIGSTOP');
  const waitsForRedis = (): boolean =>
    delays().length > 0 && delays().every((delay) => delay === TIMEOUT_MS);
  await until('only Redis is waited for', waitsForRedis, { everyMs: 1 });
  await built.close();
  fire(TIMEOUT_MS);
  await expect.poll(delays, { interval: 1 }).toEqual([]);
});

const ENDS = ['state', 'leases', 'offers'];
type Fault = readonly [what: string, reason: RegExp, cause: (client: Redis) => Promise<unknown>];
const FAULTS_OF_A_BUCKET: Fault[] = [
  ...ENDS.map((end): Fault => {
    const key = `h:{b}:${end}`;
    return [`has a string at ${key}`, /WRONGTYPE/, (client) => client.set(key, 'nonsense')];
  }),
  [
    'has an invalid state',
    /bad argument/,
    (client) => client.hset('h:{b}:state', 'layout', 8, 'revision', 'x', 'state', 'nonsense'),
  ],
  [
    'has an invalid record of its budget',
    /attempt to/,
    (client) => client.hset('h:{b}:state', 'bucket', 'nonsense'),
  ],
  ['has invalid slots', /attempt to/, (client) => client.hset('h:{b}:state', 'slots', 'nonsense')],
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
    const built = await makeLedgerOn(redis, { clock: systemClock, timeoutMs: 60_000 });
    try {
      await cause(redis.client);
      const driver = new LedgerDriver(built.ledger, systemClock, built.permits);
      const asked = driver.ask();
      await until('it is granted', () => asked.state.kind === 'granted');
      const other = driver.ask({ bucket: 'other' });
      await until('it is granted, too', () => other.state.kind === 'granted');
      expect(await redis.client.exists('h:{other}:leases')).toBe(1);
      const [line] = built.changes();
      expect(line).toMatchObject({ level: 'warn', ledger: 'local', bucket: 'b' });
      expect(line?.['reason']).toMatch(reason);
      const ids = built.ledger.snapshot().map(({ id }) => id);
      expect(ids.toSorted()).toEqual(['b', 'other']);

      await redis.client.del(...ENDS.map((end) => `h:{b}:${end}`));
      await until('the bucket has moved back', () => built.changes().length === 2);
      expect(built.changes()[1]).toMatchObject({ ledger: 'redis', bucket: 'b' });
      await until('Redis has it', async () => (await redis.client.exists('h:{b}:leases')) === 1);
      for (const one of [asked, other]) driver.answer(one);
      expect(built.modes).toEqual(['redis']);
    } finally {
      await built.close();
      await redis.stop();
    }
  },
);

test.concurrent.each(FAULTS_OF_THE_SERVER)(
  'a Redis that %s is replaced by the local ledger, and the log has the reason',
  async (_what, reason, cause) => {
    const redis = await startRedis();
    const built = await makeLedgerOn(redis, { clock: systemClock, timeoutMs: 60_000 });
    try {
      await cause(redis.client);
      const driver = new LedgerDriver(built.ledger, systemClock, built.permits);
      const asked = driver.ask();
      await until('it is granted', () => asked.state.kind === 'granted');
      driver.answer(asked);
      const [line] = built.changes();
      expect(line).toMatchObject({ level: 'warn', ledger: 'local' });
      expect(line).not.toHaveProperty('bucket');
      expect(line?.['reason']).toMatch(reason);
      expect(built.modes).toEqual(['redis', 'local']);
    } finally {
      await built.close();
      await redis.stop();
    }
  },
);
