// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Asked } from '../../support/ledger-driver.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';

const MINUTE_MS = 60_000;

describe('replicas that share a budget of costly requests', () => {
  let fleet: Replicas;
  let a: Replica;
  let b: Replica;

  beforeAll(async () => {
    fleet = await Replicas.start();
  });
  afterAll(() => fleet.stop());
  beforeEach(() => {
    a = fleet.add('a', { sockets: 10_000, maxQueue: 10_000 });
    b = fleet.add('b', { sockets: 10_000, maxQueue: 10_000 });
  });
  afterEach(() => fleet.clear());

  async function answer(asked: Asked, limit: number, remaining: number): Promise<void> {
    a.driver.answer(asked, { limit, remaining, resetInMs: MINUTE_MS });
    await fleet.pass(50);
  }

  test.each(['state', 'leases'])(
    'count no operation twice if the key %s is evicted',
    async (name) => {
      await answer(await fleet.ask(a), 100, 99);
      const costly = await fleet.ask(a, { cost: 50 });
      const keys = (await fleet.redis.client.keys('*')).filter((key) => key.endsWith(name));
      expect(keys).toHaveLength(1);
      await fleet.redis.client.del(...keys);
      await fleet.ask(a, { cost: 1 });
      await answer(costly, 100, 49);
      // 49 are available, or 48 with the lease in flight.
      expect((await fleet.ask(a, { cost: 60 })).state.kind).toBe('waiting');
      await fleet.pass(11_000);
      const { troubles } = a;
      expect(troubles).toEqual([]);
    },
  );

  test('return prefetched leases if these are missing to a request', async () => {
    await answer(await fleet.ask(a), 400, 399);
    b.driver.unsent(await fleet.ask(b));
    await fleet.pass(200);
    const busy = Array.from({ length: 40 }, () => b.driver.ask());
    await fleet.pass(1);
    for (const one of busy) b.driver.unsent(one);
    await fleet.pass(1);
    const costly = await fleet.ask(a, { cost: 399 });
    await fleet.pass(30);
    expect(costly.state.kind).toBe('granted');
  });
});
