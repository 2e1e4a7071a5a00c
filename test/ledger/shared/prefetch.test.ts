// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { StepBatch } from '../../../src/ledger/shared/wire.ts';
import type { Asked, ApiReport } from '../../support/ledger-driver.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';

const MINUTE_MS = 60_000;
const LIMIT = 6000;
/** A sixteenth of what is left, over all replicas (docs/decisions/0022). */
const SHARE_OF_REMAINING = 16;
const MAX_PREFETCHED = 128;

describe('the leases that a replica prefetches', () => {
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

  /**
   * The first answers report `remaining` and a reset in a minute; `b` knows of it by a step. The second
   * one shows that a call costs one operation.
   */
  async function opened(remaining: number): Promise<void> {
    a.driver.answer(await fleet.ask(a), report(remaining + 1));
    a.driver.answer(await fleet.ask(a), report(remaining));
    await fleet.quiet();
    b.driver.unsent(await fleet.ask(b));
    await fleet.pass(200);
  }

  /** Makes many calls at once, which are all granted: a busy moment. */
  async function busy(replica: Replica, calls = 40): Promise<Asked[]> {
    const asked = Array.from({ length: calls }, () => replica.driver.ask());
    await fleet.pass(1);
    expect(granted(asked)).toBe(calls);
    return asked;
  }

  /** Adds a replica whose turns of the event loop the test ends. */
  function addWithTurns(): { c: Replica; endTurn: () => void } {
    let end = (): void => undefined;
    const c = fleet.add('c', { sockets: 1000, atEndOfTurn: (run) => (end = run) });
    return { c, endTurn: () => end() };
  }

  /** Returns the calls that are granted before the ledger has had time for a step. */
  function grantedAtOnce(replica: Replica, calls: number): Asked[] {
    const asked = Array.from({ length: calls }, () => replica.driver.ask());
    return asked.filter(({ state }) => state.kind === 'granted');
  }

  test('let calls start without a step where calls are frequent and much is left', async () => {
    await opened(5000);
    await busy(a);
    const before = a.steps;
    const asked = grantedAtOnce(a, 15);
    expect(asked).toHaveLength(15);
    expect(asked[0]?.state).toMatchObject({ grant: { waitedFor: 'nothing' } });
    expect(a.steps).toBe(before);
  });

  test('are requested again before they are used up, with a step that reports answers too', async () => {
    await opened(5000);
    await busy(a);
    const before = a.steps;
    let left = 4900;
    let atOnce = 0;
    for (let i = 0; i < 1000; i++) {
      const asked = a.driver.ask();
      if (asked.state.kind === 'granted') atOnce++;
      await fleet.quiet();
      a.driver.answer(asked, report(left--));
      if (i % 10 === 9) await fleet.pass(1);
    }
    expect(atOnce).toBe(1000);
    expect(a.steps - before).toBeLessThan(50);
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ remaining: left + 1, leases: 41 });
  });

  test('are none where calls are rare', async () => {
    await opened(5000);
    for (let i = 0; i < 5; i++) {
      const asked = a.driver.ask();
      expect(asked.state.kind).toBe('waiting');
      await fleet.pass(25);
      expect(asked.state.kind).toBe('granted');
    }
  });

  test('are none where little is left', async () => {
    await opened(127 + 40);
    await busy(a);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('are a small part of what is left, over all replicas', async () => {
    await opened(1000 + 80);
    await busy(a);
    await busy(b);
    expect(grantedAtOnce(a, 100).length + grantedAtOnce(b, 100).length).toBeLessThanOrEqual(
      1000 / SHARE_OF_REMAINING + 1,
    );
  });

  test('are no more than a replica needs soon', async () => {
    await opened(5000);
    await busy(a, 1000);
    expect(grantedAtOnce(a, 1000)).toHaveLength(MAX_PREFETCHED);
  });

  test('count as leases in flight, used or not', async () => {
    await opened(5000);
    await busy(a);
    await fleet.ask(b);
    expect(b.ledger.view('b')?.leases).toBe(40 + 1 + grantedAtOnce(a, 200).length);
  });

  test('let answers gather that arrive while a step is under way', async () => {
    await opened(5000);
    const out = await busy(a);
    const before = a.steps;
    a.interceptNext = async (run) => {
      for (const [i, one] of out.slice(1, 20).entries()) a.driver.answer(one, report(4999 - i));
      return await run();
    };
    a.driver.lost(defined(out[0]));
    await fleet.quiet();
    expect(a.steps - before).toBe(1);
    await fleet.pass(20);
    expect(a.steps - before).toBe(2);
  });

  test('become fewer with the calls', async () => {
    await opened(5000);
    await busy(a, 1000);
    await fleet.pass(101);
    const left = grantedAtOnce(a, 1000).length;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(MAX_PREFETCHED / 4);
  });

  test('never allow more grants than the budget has', async () => {
    await opened(1000);
    const asked: Asked[] = [];
    for (let i = 0; i < 60; i++) {
      for (const replica of [a, b]) {
        asked.push(...Array.from({ length: 10 }, () => replica.driver.ask()));
      }
      await fleet.pass(2);
    }
    expect(granted(asked)).toBe(1000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(1000);
  });

  test('are returned when calls stop', async () => {
    await opened(5000);
    const asked = await busy(a);
    for (const [i, one] of asked.entries()) a.driver.answer(one, report(4990 - i));
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ leases: 1 });
    const before = a.steps;
    await fleet.pass(10_000);
    expect(a.steps).toBe(before);
  });

  test('are returned at once when a ticket waits at another replica', async () => {
    await opened(1000);
    await busy(a);
    const told = await fleet.ask(b);
    b.driver.answer(told, report(5));
    const waiting = await fleet.ask(b);
    await fleet.quiet();
    expect(waiting.state.kind).toBe('waiting');
    expect(grantedAtOnce(a, 5)).toEqual([]);
  });

  test('are not used after the API refused a call', async () => {
    await opened(5000);
    const [refused] = await busy(a);
    a.driver.answer(defined(refused), {
      status: 429,
      limit: LIMIT,
      remaining: 0,
      resetInMs: MINUTE_MS,
    });
    await fleet.quiet();
    expect(grantedAtOnce(a, 5)).toEqual([]);
    await fleet.quiet();
    expect(b.ledger.view('b')?.blockedForMs).toBeUndefined();
    expect(await viewFromB()).toMatchObject({ remaining: 0 });
  });

  test('are not used in the moment before a step reports a refusal', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(5000);
    const asked = Array.from({ length: 20 }, () => c.driver.ask());
    endTurn();
    await fleet.quiet();
    expect(grantedAtOnce(c, 1)).toHaveLength(1);
    c.driver.answer(defined(asked[0]), { status: 429, limit: LIMIT, remaining: 0 });
    expect(grantedAtOnce(c, 1)).toEqual([]);
  });

  test('count as available for tickets of other replicas: none is shed because of them', async () => {
    await opened(5000);
    await busy(a, 1000);
    await fleet.ask(b);
    const left = 5000 - 1000 - 1;
    const rest = Array.from({ length: left }, () => b.driver.ask({ maxWaitMs: 5000 }));
    await fleet.pass(50);
    expect(granted(rest)).toBe(left);
    expect((await fleet.ask(b, { maxWaitMs: 5000 })).state.kind).toBe('shed');
  });

  test('are returned at once when the recall arrives before them', async () => {
    await opened(1000);
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    await busy(a, 4);
    await fleet.pass(200);
    const asked = Array.from({ length: 20 }, () => a.driver.ask());
    a.interceptAll = async (run) => {
      const reply = await run();
      await gate;
      return reply;
    };
    await fleet.quiet();
    const rest = Array.from({ length: 1000 - 4 - 20 }, () => b.driver.ask());
    await fleet.pass(8);
    expect(granted(rest)).toBeLessThan(rest.length);
    letGo();
    await fleet.quiet();
    await fleet.quiet();
    expect([granted(asked), granted(rest)]).toEqual([20, rest.length]);
  });

  test('are returned when an answer reports that nothing is left', async () => {
    await opened(5000);
    const [last] = await busy(a);
    a.driver.answer(defined(last), report(0));
    expect(grantedAtOnce(a, 1)).toHaveLength(1);
    await fleet.pass(25);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('are not used after the API refused a call of another replica', async () => {
    await opened(5000);
    await busy(a);
    const [refused] = await busy(b);
    b.driver.answer(defined(refused), {
      status: 429,
      limit: LIMIT,
      remaining: 0,
      resetInMs: MINUTE_MS,
    });
    await fleet.quiet();
    expect(grantedAtOnce(a, 5)).toEqual([]);
  });

  test('of a replica that died count as spent, until an answer reports what is left', async () => {
    await opened(5000);
    await busy(a);
    a.losesSteps = true;
    a.losesMessages = true;
    const inStock = grantedAtOnce(a, 200).length;
    await fleet.pass(1900);
    expect(await viewFromB()).toMatchObject({ remaining: 5000, leases: 41 + inStock });
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 41 });
    b.driver.answer(await fleet.ask(b), report(4900));
    await fleet.pass(25);
    expect(await viewFromB()).toMatchObject({ remaining: 4900 });
  });

  test('are not used by a replica that was suspended, nor by others', async () => {
    await opened(1000);
    await busy(a);
    fleet.clock.oversleep(2100);
    const others = Array.from({ length: 1100 }, () => b.driver.ask());
    await fleet.pass(5);
    const late = Array.from({ length: 3 }, () => a.driver.ask());
    await fleet.pass(500);
    expect(granted(others)).toBeLessThan(1000 - 40);
    expect(granted(others)).toBeGreaterThan(1000 - 40 - 1000 / SHARE_OF_REMAINING);
    expect(granted(late)).toBe(0);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('are counted once if used before their replica was suspended', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await fleet.ask(b);
    const inStock = Number(b.ledger.view('b')?.leases) - 41;
    fleet.clock.oversleep(2100);
    await fleet.pass(50);
    expect([used.length, await fleet.redis.client.zcard('h:{b}:leases')]).toEqual([10, 41]);
    for (const one of used) a.driver.lost(one);
    await fleet.pass(50);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 42 });
  });

  test('cost their slots once if used before their replica was suspended', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await fleet.ask(b);
    const inStock = Number(b.ledger.view('b')?.leases) - 41;
    fleet.clock.oversleep(2100);
    for (const one of used) a.driver.lost(one);
    await fleet.pass(50);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 42 });
  });

  test('are not used after a step that found them spent', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(1000);
    Array.from({ length: 20 }, () => c.driver.ask());
    endTurn();
    await fleet.quiet();
    fleet.clock.oversleep(2100);
    Array.from({ length: 1000 }, () => b.driver.ask());
    await fleet.pass(5);
    const late = Array.from({ length: 30 }, () => c.driver.ask());
    c.interceptNext = async (run) => {
      late.push(c.driver.ask());
      return await run();
    };
    endTurn();
    await fleet.quiet();
    expect(granted(late)).toBe(0);
  });

  test('count for other replicas when used, for as long as their calls may take', async () => {
    await opened(5000);
    await busy(a);
    const long = grantedAtOnce(a, 10);
    expect(long).toHaveLength(10);
    await fleet.pass(5000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(50);
    for (const one of long) a.driver.lost(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('are soon reported when used, although the calls are slow and no other call arrives', async () => {
    await opened(5000);
    const first = await busy(a);
    await fleet.pass(50);
    const used = grantedAtOnce(a, 3);
    // A step that starts before these uses are due to be reported.
    await fleet.pass(5);
    a.driver.lost(defined(first[0]));
    await fleet.pass(40);
    expect([used.length, await fleet.redis.client.zcard('h:{b}:leases')]).toEqual([3, 42]);
  });

  test('show who used them, for whom the reserve counts them', async () => {
    await opened(5000);
    await busy(a);
    const owners = async (): Promise<string | null> =>
      fleet.redis.client.hget('h:{b}:state', 'state');
    expect(await owners()).not.toContain('job');
    const asked = a.driver.ask({ owner: 'job' });
    expect(asked.state.kind).toBe('granted');
    await fleet.pass(100);
    expect(await owners()).toContain('\u0001job\u0002');
  });

  test('report the counters of the moment in which they were used', async () => {
    await opened(5000);
    const first = await busy(a);
    const batches: StepBatch[] = [];
    for (const [i, one] of first.entries()) a.driver.answer(one, report(4999 - i));
    await busy(a);
    const [one, other] = grantedAtOnce(a, 2);
    await fleet.pass(7);
    a.interceptNext = async (run, batch) => {
      batches.push(batch);
      return await run();
    };
    a.driver.answer(defined(one), report(4900));
    a.driver.lost(defined(other));
    await fleet.quiet();
    // The opening's answer and these forty; nothing was lost, and nothing refilled.
    const [, , observation, , , outcome, , losses, returns, age] = batches[0]?.settled[0] ?? [];
    expect([observation, outcome, losses, returns, age]).toEqual([42, 'answered', 0, 0, 7]);
  });

  test('cost their slots if the calls were lost before a step reported them', async () => {
    await opened(5000);
    await busy(a);
    for (const one of grantedAtOnce(a, 10)) a.driver.lost(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('cost nothing if the calls were not sent', async () => {
    await opened(5000);
    await busy(a);
    for (const one of grantedAtOnce(a, 10)) a.driver.unsent(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000, leases: 41 });
  });

  test('of a step whose reply was lost are not used, and those used before count', async () => {
    await opened(5000);
    await busy(a);
    a.interceptNext = async (run) => {
      await run();
      throw new Error('the connection broke');
    };
    const used = grantedAtOnce(a, 40);
    await fleet.quiet();
    expect(a.troubles).toHaveLength(1);
    expect(grantedAtOnce(a, 1)).toEqual([]);
    await fleet.pass(1000);
    expect(granted(used)).toBe(used.length);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(41 + used.length);
    expect(await viewFromB()).toMatchObject({ remaining: 5000, leases: 42 + used.length });
  });

  test.each([
    ['ran', async (run: () => Promise<unknown>) => run()],
    ['did not run', async () => undefined],
  ])(
    'cost their slots once if the step that reported them %s and its reply was lost',
    async (_, may) => {
      await opened(5000);
      await busy(a);
      const used = grantedAtOnce(a, 10);
      a.interceptNext = async (run) => {
        await may(run);
        throw new Error('the connection broke');
      };
      for (const [i, one] of used.entries()) a.driver.answer(one, report(4999 - i));
      await fleet.pass(1000);
      expect(a.troubles).toHaveLength(1);
      expect(await viewFromB()).toMatchObject({ remaining: 4990, leases: 41 });
      let counted = Number.NaN;
      a.interceptNext = async (run, { stock }) => {
        counted = stock;
        return await run();
      };
      a.ledger.pause('b');
      expect(counted).toBe(0);
    },
  );

  test('cost their slots once if their calls were lost while a failed step reported them', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    a.interceptNext = async (_run, batch) => {
      expect(batch.held).toHaveLength(10);
      await Promise.resolve();
      for (const one of used) a.driver.lost(one);
      throw new Error('the connection broke');
    };
    await fleet.pass(1000);
    expect(a.troubles.map(({ message }) => message)).toEqual(['the connection broke']);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('are one lease each when the step that reported their use ran and its reply was lost', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    a.interceptNext = async (run, batch) => {
      expect(batch.held).toHaveLength(10);
      await run();
      for (const one of used) a.driver.lost(one);
      throw new Error('the connection broke');
    };
    await fleet.pass(1000);
    expect(a.troubles).toHaveLength(1);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('are declared, when used, to a server that lost everything', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await fleet.redis.client.flushall();
    await fleet.pass(2000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(50);
    for (const one of used) a.driver.answer(one, report(4000));
    await fleet.pass(100);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(40);
  });

  test('are returned by a pause, and not used meanwhile', async () => {
    await opened(5000);
    await busy(a);
    a.ledger.pause('b');
    expect(grantedAtOnce(a, 1)).toEqual([]);
    await fleet.quiet();
    await fleet.ask(b);
    expect(b.ledger.view('b')).toMatchObject({ leases: 41 });
  });

  test('are returned when a replica closes', async () => {
    await opened(5000);
    await busy(a);
    await a.ledger.close();
    expect(await viewFromB()).toMatchObject({ leases: 41 });
  });

  test('do not move to another ledger unless they were used', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    const { held } = a.ledger.handOver();
    expect(held).toHaveLength(40 + used.length);
    expect(new Set(held.map(({ kind }) => kind))).toEqual(new Set(['regular']));
  });

  test('let no ticket overtake one that waits for a socket', async () => {
    const narrow = fleet.add('narrow', { sockets: 45, maxQueue: 1000 });
    await opened(5000);
    const out = await busy(narrow, 40);
    const rest = Array.from({ length: 8 }, () => narrow.driver.ask());
    await fleet.quiet();
    expect(granted(rest)).toBe(5);
    // A socket becomes free, and a new call arrives before a step has decided on it.
    narrow.driver.answer(defined(out[0]), report(4900));
    const late = narrow.driver.ask();
    expect(late.state.kind).toBe('waiting');
    narrow.driver.answer(defined(out[1]), report(4899));
    narrow.driver.answer(defined(out[2]), report(4898));
    await fleet.pass(50);
    expect([granted(rest), late.state.kind]).toEqual([8, 'waiting']);
    // No other replica has any while a ticket waits.
    await busy(a);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('serve tickets that arrived while the step that brought them was under way', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(5000);
    const introduction = c.driver.ask();
    endTurn();
    await fleet.quiet();
    c.driver.unsent(introduction);
    endTurn();
    await fleet.pass(100);
    const before = c.steps;
    const first = Array.from({ length: 20 }, () => c.driver.ask());
    let meanwhile: Asked[] = [];
    c.interceptNext = async (run) => {
      meanwhile = Array.from({ length: 5 }, () => c.driver.ask());
      return await run();
    };
    endTurn();
    await fleet.quiet();
    expect([granted(first), granted(meanwhile), c.steps - before]).toEqual([20, 5, 1]);
  });

  test('do not take the sockets that another bucket waits for', async () => {
    const narrow = fleet.add('narrow', { sockets: 8, maxQueue: 1000 });
    await opened(5000);
    const out = await busy(narrow, 8);
    const other = narrow.driver.ask({ bucket: 'other' });
    await fleet.quiet();
    for (const one of out) {
      narrow.driver.answer(one, report(4900));
      // In the same moment, before the other bucket's step has granted it the socket.
      narrow.driver.ask();
    }
    await fleet.quiet();
    expect(other.state.kind).toBe('granted');
    expect(narrow.driver.granted.indexOf(other.ticket.id)).toBe(8);
  });

  test('are not recalled from a replica that the server forgot', async () => {
    await opened(1000);
    await busy(a);
    await fleet.redis.client.hdel('h:{b}:state', 'replica:a', 'replica:b');
    const rest = Array.from({ length: 1000 }, () => b.driver.ask());
    await fleet.pass(600);
    expect(b.troubles).toEqual([]);
    expect(granted(rest)).toBe(1000 - 40);
  });

  test('keep their bucket from being forgotten', async () => {
    const small = fleet.add('small', { sockets: 1000, maxBuckets: 1 });
    await opened(5000);
    for (const one of await busy(small)) small.driver.unsent(one);
    await fleet.pass(21);
    await fleet.ask(small, { bucket: 'another' });
    expect(small.ledger.view('b')).toBeDefined();
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ leases: 1 });
  });

  test('let no retry start before its time', async () => {
    await opened(5000);
    const [first] = await busy(a);
    a.driver.answer(defined(first), { status: 429, limit: LIMIT, remaining: 4000 });
    await fleet.quiet();
    await busy(a);
    expect(grantedAtOnce(a, 1)).toHaveLength(1);
    expect(a.driver.retry(defined(first), fleet.clock.now() + 500).state.kind).toBe('waiting');
  });

  test('let a retry start as well', async () => {
    await opened(5000);
    const [first] = await busy(a);
    const failed = defined(first);
    a.driver.lost(failed);
    await fleet.quiet();
    await busy(a);
    expect(a.driver.retry(failed).state.kind).toBe('granted');
  });

  async function viewFromB(): Promise<Record<string, unknown>> {
    await fleet.pass(25);
    const asked = await fleet.ask(b, { caller: 'viewer' });
    const view = { ...b.ledger.view('b') };
    if (asked.state.kind === 'granted') b.driver.unsent(asked);
    asked.leave();
    await fleet.quiet();
    return view;
  }
});

function report(remaining: number): ApiReport {
  return { limit: LIMIT, remaining, resetInMs: MINUTE_MS };
}

function granted(all: readonly Asked[]): number {
  return all.filter(({ state }) => state.kind === 'granted').length;
}

function defined(asked: Asked | undefined): Asked {
  if (asked === undefined) throw new Error('there is none');
  return asked;
}
