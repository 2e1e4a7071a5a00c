// @module-tag needs-redis-server
import { expect, test } from 'vitest';
import { LearnedDraws } from '../../../src/draws/learned-draws.ts';
import { SharedLessons } from '../../../src/ledger/shared/lessons.ts';
import { openRedisStore, type RedisStore } from '../../../src/ledger/shared/redis/store.ts';
import { makeLog } from '../../../src/telemetry/log.ts';
import { CapturedLog } from '../../support/captured-log.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startRedis } from '../../support/redis-server.ts';

/** One replica's lessons, with the clock of its own machine. */
class Replica {
  readonly learned = new LearnedDraws();
  readonly clock = new FakeClock();
  readonly shared: SharedLessons;

  constructor(store: Pick<RedisStore, 'lessons'>) {
    this.shared = new SharedLessons({
      store,
      learned: this.learned,
      clock: this.clock,
      timeoutMs: 100,
    });
  }

  /** An answer to a request of this route, which reports the bucket of this name. */
  answer(path: string, name: string): void {
    this.clock.advance(1);
    this.learned.learn({
      className: 'all',
      ownBucketId: 'a:all',
      method: 'GET',
      path,
      draws: this.learned.drawsOf('all', 'GET', path),
      status: 200,
      reports: [{ name, limit: 30, remaining: 20 }],
      costsOne: true,
      grantedAt: this.clock.now(),
      receivedAt: this.clock.now(),
    });
  }

  draws(path: string): string[] | undefined {
    return this.learned.drawsOf('all', 'GET', path)?.map(({ name }) => name);
  }
}

async function openStore(
  onTestFinished: (end: () => Promise<void> | void) => void,
): Promise<{ store: RedisStore; redis: Awaited<ReturnType<typeof startRedis>> }> {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const store = openRedisStore({
    address: {
      topology: { kind: 'single', at: { host: '127.0.0.1', port: redis.port } },
      db: 0,
      tls: false,
      username: undefined,
      password: undefined,
    },
    // No machine is so busy that a command takes longer.
    timeoutMs: 60_000,
    ca: undefined,
    cert: undefined,
    key: undefined,
    prefix: 'h',
    replica: 'r',
    onMessage: () => undefined,
    log: makeLog({
      level: 'debug',
      replica: 'r',
      clock: new FakeClock(),
      destination: new CapturedLog(),
    }),
  });
  onTestFinished(() => store.close());
  await expect.poll(() => store.presence('').catch(() => undefined)).toBeDefined();
  return { store, redis };
}

test('a replica learns what another one learned, and so does one that starts later', async ({
  onTestFinished,
}) => {
  const { store } = await openStore(onTestFinished);
  const [first, second] = [new Replica(store), new Replica(store)];
  first.answer('/repos', 'core');
  first.answer('/search/issues', 'search');
  await first.shared.exchange();
  await second.shared.exchange();
  expect(second.draws('/search/issues')).toEqual(['search']);
  expect(second.draws('/repos')).toBeUndefined();
  second.answer('/graphql', 'graphql');
  await second.shared.exchange();
  await first.shared.exchange();
  expect(first.draws('/graphql')).toEqual(['graphql']);
  const later = new Replica(store);
  await later.shared.exchange();
  expect(later.draws('/search/issues')).toEqual(['search']);
});

test('lessons are sent once, and read only when there are others', async ({ onTestFinished }) => {
  const { store } = await openStore(onTestFinished);
  const sent: number[] = [];
  const read: number[] = [];
  const counted: Pick<RedisStore, 'lessons'> = {
    async lessons(revision, learned) {
      sent.push(learned.length);
      const reply = await store.lessons(revision, learned);
      read.push(reply.lessons.length);
      return reply;
    },
  };
  const replica = new Replica(counted);
  replica.answer('/repos', 'core');
  replica.answer('/search/issues', 'search');
  for (let i = 0; i < 3; i++) await replica.shared.exchange();
  // The lesson of the class, and that of the route.
  expect(sent).toEqual([2, 0, 0]);
  expect(read).toEqual([2, 0, 0]);
});

test('what is no lesson is ignored', async ({ onTestFinished }) => {
  const { store, redis } = await openStore(onTestFinished);
  await redis.client.hset(
    'h:{lessons}',
    'a',
    'nonsense',
    'b',
    '1 {"class":',
    'c',
    '1 [1]',
    '',
    '7',
  );
  const replica = new Replica(store);
  await replica.shared.exchange();
  expect(replica.learned.lessons(replica.clock.now())).toEqual([]);
});

test('Redis keeps a bounded number of lessons', async ({ onTestFinished }) => {
  const { store, redis } = await openStore(onTestFinished);
  for (let i = 0; i < 30; i++) {
    const learned = Array.from({ length: 50 }, (_, n) => [`${i}-${n}`, '{}'] as const);
    await store.lessons('', learned);
  }
  expect(await redis.client.hlen('h:{lessons}')).toBeLessThanOrEqual(1001);
});
