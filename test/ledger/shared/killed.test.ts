// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KilledRedis } from '../../support/killed-redis.ts';
import { randomDraws } from '../../support/random-draws.ts';
import { SeveralBucketsWorld } from '../../support/several-buckets-world.ts';

const RUN_MS = 20_000;
const MAX_PERIOD_MS = 9000;
/** A replica uses the server again this long after it works, at most. */
const PROBED_MS = 1000;

let redis: KilledRedis;

beforeAll(async () => {
  redis = await KilledRedis.start();
});
afterAll(() => redis.stop());

/** When the server dies, and how long it is away. */
const deaths = fc.array(
  fc.record({
    atMs: fc.integer({ min: 1000, max: RUN_MS }),
    forMs: fc.constantFrom(0, 50, 3000),
  }),
  { minLength: 1, maxLength: 2 },
);

test('requests of several buckets outlive a server that is killed, and nothing is lost', async () => {
  const { clock } = redis;
  await fc.assert(
    fc.asyncProperty(randomDraws({ minCalls: 40 }), deaths, async (random, kills) => {
      const replicas = await redis.replicas(['r1', 'r22'], random.sockets);
      const [first] = replicas;
      if (first === undefined) throw new Error('expected two replicas');
      const world = new SeveralBucketsWorld(first.ledger, clock, first.permits, random.limits);
      for (const { id } of random.limits) world.call({ draws: [[id, 1]] });
      await redis.pass(MAX_PERIOD_MS);
      const opened = world.calls.length;
      for (const [i, { atMs, ...call }] of random.calls.entries()) {
        const replica = replicas[i % replicas.length] ?? first;
        clock.after(atMs, () => world.call({ ...call, replica, retries: 10 }));
      }
      for (const { atMs, forMs } of kills) {
        clock.after(atMs, () => redis.kill());
        clock.after(atMs + forMs, () => redis.restart());
      }
      await redis.pass(RUN_MS + 20_000);
      await redis.pass(2 * MAX_PERIOD_MS + 30_000);

      // No deadlock: each call was decided by its deadline, but one that a step had to answer.
      expect(world.calls).toHaveLength(opened + random.calls.length);
      for (const { ticket, state, askedAt, decidedAt } of world.calls) {
        expect(state).not.toBe('waiting');
        expect(decidedAt).toBeLessThanOrEqual(Math.max(ticket.deadlineAt, askedAt + 200));
      }
      // No permit is lost. What was declared to the new server can be older than a window, and what a
      // replica knows is that of its last step: one call through each corrects both.
      for (const replica of replicas.toReversed()) {
        for (const { id } of random.limits) world.call({ draws: [[id, 1]], replica });
        await redis.pass(2 * MAX_PERIOD_MS);
        expect(replica.mode()).toBe('redis');
        expect(replica.permits.free).toBe(random.sockets);
        expect(replica.held()).toBe(0);
      }
      const kept = first.ledger.snapshot().map(({ id, leases, waiting }) => [id, leases, waiting]);
      expect(kept).toEqual(kept.map(([id]) => [id, 0, 0]));

      // No more is granted than allowed. While the server is away, each replica has a share of each
      // window, which is at least the cost of one request.
      const windowsAway = kills.flatMap(({ forMs }) =>
        random.limits.map(({ periodMs }) => 2 + Math.ceil((forMs + PROBED_MS) / periodMs)),
      );
      const sharedOut = windowsAway.reduce((sum, count) => sum + count, 0);
      expect(world.refusals).toBeLessThanOrEqual(sharedOut);

      // Each bucket has its whole limit again, and no more: the API refuses nothing.
      const before = world.refusals;
      for (const { id, limit, periodMs } of random.limits) {
        const accepted = world.accepted.get(id)?.length ?? 0;
        for (let i = 0; i < limit; i++) {
          const replica = replicas[i % replicas.length] ?? first;
          world.call({ draws: [[id, 1]], oneWayMs: 1, maxWaitMs: periodMs, replica });
        }
        await redis.pass(periodMs - 50);
        expect([id, (world.accepted.get(id)?.length ?? 0) - accepted]).toEqual([id, limit]);
        await redis.pass(2 * periodMs);
      }
      expect(world.refusals).toBe(before);
      await redis.closeReplicas();
    }),
    { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 6), endOnFailure: true },
  );
});
