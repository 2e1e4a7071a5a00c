// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { StepBatch } from '../../../src/ledger/shared/wire.ts';
import type { Asked, SaidByTheApi } from '../../support/ledger-desk.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';

const MINUTE_MS = 60_000;
const LIMIT = 6000;
/** As docs/decisions/0022 has it: a sixteenth of what is left, over all replicas. */
const MOST_OF = 16;
const MOST_HERE = 128;

describe('stock that replicas hold ahead of their calls', () => {
  let fleet: Replicas;
  let a: Replica;
  let b: Replica;

  beforeAll(async () => {
    fleet = await Replicas.start();
  });
  afterAll(() => fleet.stop());
  beforeEach(() => {
    a = fleet.add('a', { places: 10_000, maxQueue: 10_000 });
    b = fleet.add('b', { places: 10_000, maxQueue: 10_000 });
  });
  afterEach(() => fleet.clear());

  async function ask(replica: Replica, options: Parameters<Replica['desk']['ask']>[0] = {}) {
    const asked = replica.desk.ask(options);
    await fleet.quiet();
    return asked;
  }

  /** The first answer says `remaining`, all back in a minute; `b` has heard of it. */
  async function opened(remaining: number): Promise<void> {
    const first = await ask(a);
    a.desk.answer(first, said(remaining));
    await fleet.quiet();
    b.desk.unsent(await ask(b));
    await fleet.pass(200);
  }

  /** So many calls at once: what a busy moment looks like. They have their grants. */
  async function busy(replica: Replica, calls = 40): Promise<Asked[]> {
    const asked = Array.from({ length: calls }, () => replica.desk.ask());
    await fleet.pass(1);
    expect(granted(asked)).toBe(calls);
    return asked;
  }

  /** A replica whose turns of the event loop end when the test says so. */
  function addWithTurns(): { c: Replica; endTurn: () => void } {
    let end = (): void => undefined;
    const c = fleet.add('c', { places: 1000, atEndOfTurn: (run) => (end = run) });
    return { c, endTurn: () => end() };
  }

  /** How many calls are granted before the ledger has had time for a step. */
  function grantedAtOnce(replica: Replica, calls: number): Asked[] {
    const asked = Array.from({ length: calls }, () => replica.desk.ask());
    return asked.filter(({ state }) => state.kind === 'granted');
  }

  test('lets calls go without a step where calls come often and much is left', async () => {
    await opened(5000);
    await busy(a);
    const before = a.steps;
    const asked = grantedAtOnce(a, 15);
    expect(asked).toHaveLength(15);
    expect(asked[0]?.state).toMatchObject({ grant: { waitedFor: 'nothing' } });
    expect(a.steps).toBe(before);
  });

  test('is asked for anew before it is used up, and answers go with that', async () => {
    await opened(5000);
    await busy(a);
    const before = a.steps;
    let left = 4900;
    let atOnce = 0;
    for (let i = 0; i < 1000; i++) {
      const asked = a.desk.ask();
      if (asked.state.kind === 'granted') atOnce++;
      await fleet.quiet();
      a.desk.answer(asked, said(left--));
      if (i % 10 === 9) await fleet.pass(1);
    }
    expect(atOnce).toBe(1000);
    expect(a.steps - before).toBeLessThan(50);
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ remaining: left + 1, leases: 41 });
  });

  test('is none where calls are rare', async () => {
    await opened(5000);
    for (let i = 0; i < 5; i++) {
      const asked = a.desk.ask();
      expect(asked.state.kind).toBe('waiting');
      await fleet.pass(25);
      expect(asked.state.kind).toBe('granted');
    }
  });

  test('is none where little is left', async () => {
    await opened(127 + 40);
    await busy(a);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('is a small part of what is left, over all replicas', async () => {
    await opened(1000 + 80);
    await busy(a);
    await busy(b);
    expect(grantedAtOnce(a, 100).length + grantedAtOnce(b, 100).length).toBeLessThanOrEqual(
      1000 / MOST_OF + 1,
    );
  });

  test('is no more than what a replica soon needs', async () => {
    await opened(5000);
    await busy(a, 1000);
    expect(grantedAtOnce(a, 1000)).toHaveLength(MOST_HERE);
  });

  test('counts as leases that are out, used or not', async () => {
    await opened(5000);
    await busy(a);
    await ask(b);
    expect(b.ledger.view('b')?.leases).toBe(40 + 1 + grantedAtOnce(a, 200).length);
  });

  test('lets answers gather that come while a step is under way', async () => {
    await opened(5000);
    const out = await busy(a);
    const before = a.steps;
    a.meddle = async (run) => {
      for (const [i, one] of out.slice(1, 20).entries()) a.desk.answer(one, said(4999 - i));
      return await run();
    };
    a.desk.lost(theOnly(out[0]));
    await fleet.quiet();
    expect(a.steps - before).toBe(1);
    await fleet.pass(20);
    expect(a.steps - before).toBe(2);
  });

  test('shrinks with the calls that come', async () => {
    await opened(5000);
    await busy(a, 1000);
    await fleet.pass(101);
    const left = grantedAtOnce(a, 1000).length;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(MOST_HERE / 4);
  });

  test('never makes more grants than the budget has', async () => {
    await opened(1000);
    const asked: Asked[] = [];
    for (let i = 0; i < 60; i++) {
      for (const replica of [a, b]) {
        asked.push(...Array.from({ length: 10 }, () => replica.desk.ask()));
      }
      await fleet.pass(2);
    }
    expect(granted(asked)).toBe(1000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(1000);
  });

  test('goes back when calls stop', async () => {
    await opened(5000);
    const asked = await busy(a);
    for (const [i, one] of asked.entries()) a.desk.answer(one, said(4990 - i));
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ leases: 1 });
    const before = a.steps;
    await fleet.pass(10_000);
    expect(a.steps).toBe(before);
  });

  test('goes back at once when somebody waits elsewhere', async () => {
    await opened(1000);
    await busy(a);
    const told = await ask(b);
    b.desk.answer(told, said(5));
    const waiting = await ask(b);
    await fleet.quiet();
    expect(waiting.state.kind).toBe('waiting');
    expect(grantedAtOnce(a, 5)).toEqual([]);
  });

  test('is not used any more when the API refused a call', async () => {
    await opened(5000);
    const [refused] = await busy(a);
    a.desk.answer(theOnly(refused), {
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

  test('is not used in the moment before a step tells of a refusal', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(5000);
    const asked = Array.from({ length: 20 }, () => c.desk.ask());
    endTurn();
    await fleet.quiet();
    expect(grantedAtOnce(c, 1)).toHaveLength(1);
    c.desk.answer(theOnly(asked[0]), { status: 429, limit: LIMIT, remaining: 0 });
    expect(grantedAtOnce(c, 1)).toEqual([]);
  });

  test('is as good as there for who asks elsewhere: nobody is shed for it', async () => {
    await opened(5000);
    await busy(a, 1000);
    await ask(b);
    const left = 5000 - 1000 - 1;
    const rest = Array.from({ length: left }, () => b.desk.ask({ maxWaitMs: 5000 }));
    await fleet.pass(50);
    expect(granted(rest)).toBe(left);
    expect((await ask(b, { maxWaitMs: 5000 })).state.kind).toBe('shed');
  });

  test('goes back at once when the word comes before the stock', async () => {
    await opened(1000);
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    await busy(a, 4);
    await fleet.pass(200);
    const asked = Array.from({ length: 20 }, () => a.desk.ask());
    a.everyStep = async (run) => {
      const reply = await run();
      await gate;
      return reply;
    };
    await fleet.quiet();
    const rest = Array.from({ length: 1000 - 4 - 20 }, () => b.desk.ask());
    await fleet.pass(8);
    expect(granted(rest)).toBeLessThan(rest.length);
    letGo();
    await fleet.quiet();
    await fleet.quiet();
    expect([granted(asked), granted(rest)]).toEqual([20, rest.length]);
  });

  test('goes back when an answer says that nothing is left', async () => {
    await opened(5000);
    const [last] = await busy(a);
    a.desk.answer(theOnly(last), said(0));
    expect(grantedAtOnce(a, 1)).toHaveLength(1);
    await fleet.pass(25);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('is not used any more when the API refused a call of another replica', async () => {
    await opened(5000);
    await busy(a);
    const [refused] = await busy(b);
    b.desk.answer(theOnly(refused), {
      status: 429,
      limit: LIMIT,
      remaining: 0,
      resetInMs: MINUTE_MS,
    });
    await fleet.quiet();
    expect(grantedAtOnce(a, 5)).toEqual([]);
  });

  test('of a replica that died counts as spent, until an answer says what is left', async () => {
    await opened(5000);
    await busy(a);
    a.mute = true;
    a.deaf = true;
    const inStock = grantedAtOnce(a, 200).length;
    await fleet.pass(1900);
    expect(await viewFromB()).toMatchObject({ remaining: 5000, leases: 41 + inStock });
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 41 });
    b.desk.answer(await ask(b), said(4900));
    await fleet.pass(25);
    expect(await viewFromB()).toMatchObject({ remaining: 4900 });
  });

  test('is not used by a replica that slept, nor by others', async () => {
    await opened(1000);
    await busy(a);
    fleet.clock.oversleep(2100);
    const others = Array.from({ length: 1100 }, () => b.desk.ask());
    await fleet.pass(5);
    const late = Array.from({ length: 3 }, () => a.desk.ask());
    await fleet.pass(500);
    expect(granted(others)).toBeLessThan(1000 - 40);
    expect(granted(others)).toBeGreaterThan(1000 - 40 - 1000 / MOST_OF);
    expect(granted(late)).toBe(0);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('that was used before its replica slept is on the books once', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await ask(b);
    const inStock = Number(b.ledger.view('b')?.leases) - 41;
    fleet.clock.oversleep(2100);
    await fleet.pass(50);
    expect([used.length, await fleet.redis.client.zcard('h:{b}:leases')]).toEqual([10, 41]);
    for (const one of used) a.desk.lost(one);
    await fleet.pass(50);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 42 });
  });

  test('that was used before its replica slept costs its slot once', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await ask(b);
    const inStock = Number(b.ledger.view('b')?.leases) - 41;
    fleet.clock.oversleep(2100);
    for (const one of used) a.desk.lost(one);
    await fleet.pass(50);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - inStock, leases: 42 });
  });

  test('is not used on the word of a step that found it spent', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(1000);
    Array.from({ length: 20 }, () => c.desk.ask());
    endTurn();
    await fleet.quiet();
    fleet.clock.oversleep(2100);
    Array.from({ length: 1000 }, () => b.desk.ask());
    await fleet.pass(5);
    const late = Array.from({ length: 30 }, () => c.desk.ask());
    c.meddle = async (run) => {
      late.push(c.desk.ask());
      return await run();
    };
    endTurn();
    await fleet.quiet();
    expect(granted(late)).toBe(0);
  });

  test('that was used counts for others, as long as its call may take', async () => {
    await opened(5000);
    await busy(a);
    const long = grantedAtOnce(a, 10);
    expect(long).toHaveLength(10);
    await fleet.pass(5000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(50);
    for (const one of long) a.desk.lost(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('that was used is told of soon, though calls are slow and nobody else comes', async () => {
    await opened(5000);
    const first = await busy(a);
    await fleet.pass(50);
    const used = grantedAtOnce(a, 3);
    // A step that goes before it is time to tell of them.
    await fleet.pass(5);
    a.desk.lost(theOnly(first[0]));
    await fleet.pass(40);
    expect([used.length, await fleet.redis.client.zcard('h:{b}:leases')]).toEqual([3, 42]);
  });

  test('that was used says how things stood when it was', async () => {
    await opened(5000);
    const first = await busy(a);
    const batches: StepBatch[] = [];
    for (const [i, one] of first.entries()) a.desk.answer(one, said(4999 - i));
    await busy(a);
    const [one, other] = grantedAtOnce(a, 2);
    await fleet.pass(7);
    a.meddle = async (run, batch) => {
      batches.push(batch);
      return await run();
    };
    a.desk.answer(theOnly(one), said(4900));
    a.desk.lost(theOnly(other));
    await fleet.quiet();
    // The opening's answer and these forty; nothing was lost, and nothing came back.
    const [, , observation, , outcome, , losses, returns, age] = batches[0]?.settled[0] ?? [];
    expect([observation, outcome, losses, returns, age]).toEqual([41, 'answered', 0, 0, 7]);
  });

  test('costs what it costs when its call was lost before a step told of it', async () => {
    await opened(5000);
    await busy(a);
    for (const one of grantedAtOnce(a, 10)) a.desk.lost(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('costs nothing where its call was not sent', async () => {
    await opened(5000);
    await busy(a);
    for (const one of grantedAtOnce(a, 10)) a.desk.unsent(one);
    await fleet.pass(100);
    expect(await viewFromB()).toMatchObject({ remaining: 5000, leases: 41 });
  });

  test('that was given by a step whose answer was lost is nobody’s, and what was used counts', async () => {
    await opened(5000);
    await busy(a);
    a.meddle = async (run) => {
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
    'costs what it costs when the step that told of it %s and was not heard of',
    async (_, may) => {
      await opened(5000);
      await busy(a);
      const used = grantedAtOnce(a, 10);
      a.meddle = async (run) => {
        await may(run);
        throw new Error('the connection broke');
      };
      for (const [i, one] of used.entries()) a.desk.answer(one, said(4999 - i));
      await fleet.pass(1000);
      expect(a.troubles).toHaveLength(1);
      expect(await viewFromB()).toMatchObject({ remaining: 4990, leases: 41 });
      let counted = Number.NaN;
      a.meddle = async (run, { stock }) => {
        counted = stock;
        return await run();
      };
      a.ledger.pause('b');
      expect(counted).toBe(0);
    },
  );

  test('costs what it costs when its end came while a void step told of it', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    a.meddle = async (_run, batch) => {
      expect(batch.held).toHaveLength(10);
      await Promise.resolve();
      for (const one of used) a.desk.lost(one);
      throw new Error('the connection broke');
    };
    await fleet.pass(1000);
    expect(a.troubles.map(({ message }) => message)).toEqual(['the connection broke']);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('that was used is one lease when the step that told of it ran and was not heard of', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    a.meddle = async (run, batch) => {
      expect(batch.held).toHaveLength(10);
      await run();
      for (const one of used) a.desk.lost(one);
      throw new Error('the connection broke');
    };
    await fleet.pass(1000);
    expect(a.troubles).toHaveLength(1);
    expect(await viewFromB()).toMatchObject({ remaining: 5000 - 10, leases: 41 });
  });

  test('that was used is declared to a server that lost everything', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    await fleet.redis.client.flushall();
    await fleet.pass(2000);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(50);
    for (const one of used) a.desk.answer(one, said(4000));
    await fleet.pass(100);
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(40);
  });

  test('goes back with a pause, and lets nobody go meanwhile', async () => {
    await opened(5000);
    await busy(a);
    a.ledger.pause('b');
    expect(grantedAtOnce(a, 1)).toEqual([]);
    await fleet.quiet();
    await ask(b);
    expect(b.ledger.view('b')).toMatchObject({ leases: 41 });
  });

  test('goes back when a replica closes', async () => {
    await opened(5000);
    await busy(a);
    await a.ledger.close();
    expect(await viewFromB()).toMatchObject({ leases: 41 });
  });

  test('moves to no other ledger, but what was used does', async () => {
    await opened(5000);
    await busy(a);
    const used = grantedAtOnce(a, 10);
    const { held } = a.ledger.handOver();
    expect(held).toHaveLength(40 + used.length);
    expect(new Set(held.map(({ kind }) => kind))).toEqual(new Set(['slot']));
  });

  test('lets nobody past who waits for a socket', async () => {
    const narrow = fleet.add('narrow', { places: 45, maxQueue: 1000 });
    await opened(5000);
    const out = await busy(narrow, 40);
    const rest = Array.from({ length: 8 }, () => narrow.desk.ask());
    await fleet.quiet();
    expect(granted(rest)).toBe(5);
    // A socket comes free, and before a step has told whose it is somebody new asks.
    narrow.desk.answer(theOnly(out[0]), said(4900));
    const late = narrow.desk.ask();
    expect(late.state.kind).toBe('waiting');
    narrow.desk.answer(theOnly(out[1]), said(4899));
    narrow.desk.answer(theOnly(out[2]), said(4898));
    await fleet.pass(50);
    expect([granted(rest), late.state.kind]).toEqual([8, 'waiting']);
    // Nobody else has any while somebody waits.
    await busy(a);
    expect(grantedAtOnce(a, 1)).toEqual([]);
  });

  test('serves those who came while the step that brought it was under way', async () => {
    const { c, endTurn } = addWithTurns();
    await opened(5000);
    const introduction = c.desk.ask();
    endTurn();
    await fleet.quiet();
    c.desk.unsent(introduction);
    endTurn();
    await fleet.pass(100);
    const before = c.steps;
    const first = Array.from({ length: 20 }, () => c.desk.ask());
    let meanwhile: Asked[] = [];
    c.meddle = async (run) => {
      meanwhile = Array.from({ length: 5 }, () => c.desk.ask());
      return await run();
    };
    endTurn();
    await fleet.quiet();
    expect([granted(first), granted(meanwhile), c.steps - before]).toEqual([20, 5, 1]);
  });

  test('does not take the sockets that another bucket waits for', async () => {
    const narrow = fleet.add('narrow', { places: 8, maxQueue: 1000 });
    await opened(5000);
    const out = await busy(narrow, 8);
    const other = narrow.desk.ask({ bucket: 'other' });
    await fleet.quiet();
    for (const one of out) {
      narrow.desk.answer(one, said(4900));
      // In the same moment, before the other bucket's step has told that it goes next.
      narrow.desk.ask();
    }
    await fleet.quiet();
    expect(other.state.kind).toBe('granted');
    expect(narrow.desk.granted.indexOf(other.ticket.id)).toBe(8);
  });

  test('does without a word to a replica that the server forgot', async () => {
    await opened(1000);
    await busy(a);
    await fleet.redis.client.del('h:{b}:replicas');
    const rest = Array.from({ length: 1000 }, () => b.desk.ask());
    await fleet.pass(600);
    expect(b.troubles).toEqual([]);
    expect(granted(rest)).toBe(1000 - 40);
  });

  test('keeps its bucket from being forgotten', async () => {
    const small = fleet.add('small', { places: 1000, maxBuckets: 1 });
    await opened(5000);
    for (const one of await busy(small)) small.desk.unsent(one);
    await fleet.pass(21);
    await ask(small, { bucket: 'another' });
    expect(small.ledger.view('b')).toBeDefined();
    await fleet.pass(200);
    expect(await viewFromB()).toMatchObject({ leases: 1 });
  });

  test('lets no further attempt go before its time', async () => {
    await opened(5000);
    const [first] = await busy(a);
    a.desk.answer(theOnly(first), { status: 429, limit: LIMIT, remaining: 4000 });
    await fleet.quiet();
    await busy(a);
    expect(grantedAtOnce(a, 1)).toHaveLength(1);
    expect(a.desk.again(theOnly(first), fleet.clock.now() + 500).state.kind).toBe('waiting');
  });

  test('lets a further attempt go as well', async () => {
    await opened(5000);
    const [first] = await busy(a);
    const failed = theOnly(first);
    a.desk.lost(failed);
    await fleet.quiet();
    await busy(a);
    expect(a.desk.again(failed).state.kind).toBe('granted');
  });

  async function viewFromB(): Promise<Record<string, unknown>> {
    await fleet.pass(25);
    const asked = await ask(b, { caller: 'viewer' });
    const view = { ...b.ledger.view('b') };
    if (asked.state.kind === 'granted') b.desk.unsent(asked);
    asked.leave();
    await fleet.quiet();
    return view;
  }
});

function said(remaining: number): SaidByTheApi {
  return { limit: LIMIT, remaining, resetInMs: MINUTE_MS };
}

function granted(all: readonly Asked[]): number {
  return all.filter(({ state }) => state.kind === 'granted').length;
}

function theOnly(asked: Asked | undefined): Asked {
  if (asked === undefined) throw new Error('there is none');
  return asked;
}
