// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Asked } from '../../support/ledger-desk.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';

const MINUTE_MS = 60_000;
const NEVER = new Promise<never>(() => undefined);

describe('replicas that share a ledger', () => {
  let fleet: Replicas;
  let a: Replica;
  let b: Replica;

  beforeAll(async () => {
    fleet = await Replicas.start();
  });
  afterAll(() => fleet.stop());
  beforeEach(() => {
    a = fleet.add('a');
    b = fleet.add('b');
  });
  afterEach(() => fleet.clear());

  async function ask(replica: Replica, options: Parameters<Replica['desk']['ask']>[0] = {}) {
    const asked = replica.desk.ask(options);
    await fleet.quiet();
    return asked;
  }

  /** The first answer says `remaining` of `limit`, all back in a minute; `b` has heard of it. */
  async function opened(limit: number, remaining: number): Promise<void> {
    const first = await ask(a);
    a.desk.answer(first, { limit, remaining, resetInMs: MINUTE_MS });
    await fleet.quiet();
    const introduction = await ask(b, { caller: 'b-was-here' });
    if (introduction.state.kind === 'granted') b.desk.unsent(introduction);
    introduction.leave();
    await fleet.pass(100);
    a.desk.granted.length = 0;
    b.desk.granted.length = 0;
  }

  function granted(all: readonly Asked[]): number {
    return all.filter(({ state }) => state.kind === 'granted').length;
  }

  test('spend one budget, and no more than it', async () => {
    await opened(10, 4);
    const asked = [];
    for (let i = 0; i < 6; i++) asked.push(await ask(i % 2 === 0 ? a : b));
    expect(granted(asked)).toBe(4);
    expect(b.ledger.view('b')).toMatchObject({ limit: 10, leases: 4 });
  });

  test('serve one caller in the order of arrival, wherever it asks', async () => {
    await opened(10, 0);
    const order: Asked[] = [];
    for (let i = 0; i < 6; i++) {
      order.push(await ask(i % 2 === 0 ? a : b));
      await fleet.pass(5);
    }
    await fleet.pass(MINUTE_MS);
    const granted = order.filter(({ state }) => state.kind === 'granted');
    expect(granted).toEqual([order[0]]);
    a.desk.answer(theFirst(order), { limit: 10, remaining: 3, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(order.map(({ state }) => state.kind)).toEqual([
      ...Array(4).fill('granted'),
      ...Array(2).fill('waiting'),
    ]);
  });

  test('let a flood at one delay a caller at another by one grant at most', async () => {
    await opened(10, 0);
    for (let i = 0; i < 30; i++) a.desk.ask({ caller: 'flood', owner: 'x' });
    await fleet.pass(10);
    const small = await ask(b, { caller: 'small', owner: 'y' });
    await fleet.pass(MINUTE_MS);
    const canary = a.desk.granted.length;
    expect([canary, small.state.kind]).toEqual([1, 'waiting']);
    await fleet.pass(1001);
    expect(small.state.kind).toBe('granted');
    expect(small.state).toMatchObject({ grant: { waitedFor: 'budget' } });
  });

  test('give a high priority at one its turn before a normal one at the other', async () => {
    await opened(10, 0);
    const normal = [];
    for (let i = 0; i < 4; i++) normal.push(await ask(a, { caller: 'n', owner: 'x' }));
    const high = [];
    for (let i = 0; i < 4; i++) {
      high.push(await ask(b, { caller: 'h', owner: 'y', priority: 'high' }));
    }
    await fleet.pass(MINUTE_MS);
    const canary = theFirst([...normal, ...high].filter(({ state }) => state.kind === 'granted'));
    const desk = normal.includes(canary) ? a.desk : b.desk;
    desk.answer(canary, { limit: 10, remaining: 4, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(granted(high)).toBe(4);
    expect(granted(normal)).toBe(1);
  });

  test('take one step each for requests that are granted at once, and none more to settle', async () => {
    await opened(100, 90);
    const before = a.steps;
    for (let i = 0; i < 5; i++) {
      const asked = await ask(a);
      expect(asked.state).toMatchObject({ kind: 'granted', grant: { waitedFor: 'nothing' } });
      a.desk.answer(asked, { limit: 100, remaining: 89 - i, resetInMs: MINUTE_MS });
    }
    expect(a.steps - before).toBe(5);
  });

  test('gather what comes while a step is under way into the next', async () => {
    await opened(100, 90);
    const before = a.steps;
    const asked = Array.from({ length: 50 }, () => a.desk.ask());
    await fleet.quiet();
    expect(granted(asked)).toBe(50);
    expect(a.steps - before).toBe(2);
  });

  test('gather what one turn of the event loop brings into one step', async () => {
    await opened(100, 90);
    let endTurn = (): void => undefined;
    const atEndOfTurn = (run: () => void): void => {
      endTurn = run;
    };
    const c = fleet.add('c', { atEndOfTurn });
    const asked = Array.from({ length: 50 }, () => c.desk.ask());
    expect(c.steps).toBe(0);
    endTurn();
    await fleet.quiet();
    expect(granted(asked)).toBe(50);
    expect(c.steps).toBe(1);
    // Whoever leaves takes a step of its own only when its turn ends.
    for (const one of asked) c.desk.unsent(one);
    endTurn();
    await fleet.quiet();
    expect(c.steps).toBe(2);
  });

  test('tell of answers with a step that goes anyway, else soon, and once', async () => {
    await opened(100, 90);
    const before = a.steps;
    const first = await ask(a);
    a.desk.answer(first, { limit: 100, remaining: 88, resetInMs: MINUTE_MS });
    const second = await ask(a);
    await fleet.pass(1000);
    expect(a.steps - before).toBe(2);
    a.desk.answer(second, { limit: 100, remaining: 87, resetInMs: MINUTE_MS });
    await fleet.pass(19);
    expect(a.steps - before).toBe(2);
    await fleet.pass(10_000);
    expect(a.steps - before).toBe(3);
    await ask(b);
    expect(b.ledger.view('b')).toMatchObject({ remaining: 87, leases: 1 });
  });

  test('take so few steps at once that a thousand buckets do not wait for each other', async () => {
    let most = 0;
    let underWay = 0;
    const many = Array.from({ length: 300 }, (_, i) => `bucket-${i}`);
    a.everyStep = async (run) => {
      most = Math.max(most, ++underWay);
      try {
        return await run();
      } finally {
        underWay--;
      }
    };
    const asked = many.map((bucket) => a.desk.ask({ bucket }));
    await fleet.quiet();
    await settled(() => granted(asked) > 99);
    expect(most).toBe(64);
    expect(a.troubles).toEqual([]);
    // There are a hundred sockets; whoever got none waits for one.
    expect(granted(asked)).toBe(100);
  });

  test('do not take an answer for a newer one because its step was long on its way', async () => {
    await opened(100, 50);
    const [first, second] = [await ask(a), await ask(a)];
    const resetAt = fleet.clock.now() + MINUTE_MS;
    const say = (remaining: number) => ({
      limit: 100,
      remaining,
      resetInMs: resetAt - fleet.clock.now(),
    });
    a.desk.answer(second, say(48));
    await fleet.pass(25);
    // What the step says comes this much later, as far as the server can tell.
    fleet.serverAheadMs = 60;
    a.desk.answer(first, say(49));
    await fleet.pass(25);
    expect(a.ledger.view('b')).toMatchObject({ remaining: 48, leases: 0 });
  });

  test('learn by heartbeat of grants whose message was lost', async () => {
    await opened(10, 1);
    const holder = await ask(a);
    const waiting = await ask(b);
    b.deaf = true;
    a.desk.answer(holder, { limit: 10, remaining: 5, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(waiting.state.kind).toBe('waiting');
    await fleet.pass(1000);
    expect(waiting.state.kind).toBe('granted');
  });

  test('learn of sheds whose message was lost', async () => {
    const [c, d] = [fleet.add('c', { maxQueue: 4 }), fleet.add('d', { maxQueue: 4 })];
    const probe = await ask(c);
    const flood = [];
    for (let i = 0; i < 4; i++) flood.push(await ask(d, { caller: 'flood', owner: 'x' }));
    d.deaf = true;
    const other = await ask(c, { caller: 'other', owner: 'y' });
    expect([probe.state.kind, other.state.kind]).toEqual(['granted', 'waiting']);
    expect(flood[3]?.state.kind).toBe('waiting');
    await fleet.pass(4000);
    // The probe stays unanswered, so one more goes now and then; whoever does not, waits.
    const waiting = [...flood, other].filter(({ state }) => state.kind === 'waiting');
    expect(waiting).toContain(flood[3]);
    expect(d.ledger.view('b')?.waiting).toBe(waiting.length);
  });

  test('do nothing of a step that ran only after its replica had given it up', async () => {
    await opened(10, 2);
    let late: (() => Promise<unknown>) | undefined;
    a.meddle = (run) => {
      late = run;
      return NEVER;
    };
    const asked = a.desk.ask();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    fleet.clock.advance(101);
    fleet.clock.advance(1);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(a.troubles.map(({ message }) => message)).toEqual(['no answer within 100 ms']);
    // The step after it declares the ticket, and is granted.
    fleet.clock.advance(500);
    await settled(() => asked.state.kind === 'granted');
    const before = await fleet.redis.client.hgetall('h:{b}:state');
    expect(await late?.()).toBe('{"status":"stale"}');
    expect(await fleet.redis.client.hgetall('h:{b}:state')).toEqual(before);
  });

  test('do not grant twice over when the answer of a step that ran was lost', async () => {
    await opened(10, 2);
    a.meddle = async (run) => {
      await run();
      throw new Error('the connection broke');
    };
    const asked = await ask(a);
    expect(asked.state.kind).toBe('waiting');
    await fleet.pass(500);
    expect(asked.state.kind).toBe('granted');
    const leases = await fleet.redis.client.zcard('h:{b}:leases');
    expect(leases).toBe(a.ledger.view('b')?.leases);
    expect(a.desk.granted).toHaveLength(1);
  });

  test.each([
    ['is emptied', async () => fleet.redis.client.flushall()],
    [
      'goes back to an older state',
      async () => {
        const keys = await fleet.redis.client.keys('h:{b}:*');
        await fleet.redis.client.hincrby('h:{b}:state', 'revision', -3);
        return keys;
      },
    ],
  ])('rebuild what they know when the server %s', async (_name, harm) => {
    await opened(10, 5);
    const held = [await ask(a), await ask(b)];
    for (const [i, one] of held.entries()) {
      const desk = i === 0 ? a.desk : b.desk;
      desk.answer(one, { limit: 10, remaining: 4 - i, resetInMs: MINUTE_MS });
    }
    await fleet.pass(100);
    const out = [await ask(a), await ask(b)];
    await harm();
    const after = [];
    for (let i = 0; i < 6; i++) after.push(await ask(i % 2 === 0 ? a : b));
    // Three were left, two are out: whatever was lost, at most one more and a canary may go.
    expect(granted(out)).toBe(2);
    expect(granted(after)).toBeLessThanOrEqual(2);
    const canary = after.find(({ state }) => state.kind === 'granted');
    if (canary !== undefined) {
      const desk = after.indexOf(canary) % 2 === 0 ? a.desk : b.desk;
      desk.answer(canary, { limit: 10, remaining: 0, resetInMs: MINUTE_MS });
    }
    await fleet.pass(3000);
    expect(granted(after)).toBeLessThanOrEqual(2);
    await fleet.pass(2 * MINUTE_MS - 4000);
    expect(after.filter(({ state }) => state.kind === 'waiting')).toEqual([]);
  });

  test('take back what was offered to one that sleeps, and serve others', async () => {
    await opened(10, 1);
    const holder = await ask(a);
    const sleeper = await ask(b);
    const other = await ask(a);
    b.deaf = true;
    b.mute = true;
    a.desk.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(1900);
    expect([sleeper.state.kind, other.state.kind]).toEqual(['waiting', 'waiting']);
    await fleet.pass(1100);
    expect([sleeper.state.kind, other.state.kind]).toEqual(['waiting', 'granted']);
    // It wakes after its tickets were dropped, declares them, and waits like everybody.
    await fleet.pass(12_000);
    b.deaf = false;
    b.mute = false;
    await fleet.pass(1000);
    expect(sleeper.state.kind).toBe('waiting');
    await fleet.pass(MINUTE_MS);
    expect(sleeper.state.kind).toBe('granted');
  });

  test('do not take an offer that comes out of an old message', async () => {
    await opened(10, 1);
    const holder = await ask(a);
    const sleeper = await ask(b);
    const other = await ask(a);
    const messages: string[] = [];
    const listen = b.ledger.hear.bind(b.ledger);
    b.ledger.hear = (text) => void messages.push(text);
    b.mute = true;
    a.desk.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(4000);
    expect(other.state.kind).toBe('granted');
    b.ledger.hear = listen;
    for (const text of messages) b.ledger.hear(text);
    await fleet.quiet();
    expect([messages.length, sleeper.state.kind]).toEqual([1, 'waiting']);
  });

  test('go on when the clock of the server goes back by an hour', async () => {
    await opened(10, 1);
    const first = await ask(a);
    const second = await ask(b);
    fleet.serverAheadMs = -3_600_000;
    await fleet.pass(1000);
    expect(second.state.kind).toBe('waiting');
    a.desk.answer(first, { limit: 10, remaining: 2, resetInMs: MINUTE_MS });
    await fleet.pass(20);
    expect(second.state.kind).toBe('granted');
    expect(a.ledger.view('b')?.resetInMs).toBeCloseTo(MINUTE_MS, -2);
  });

  test('leave their tickets to nobody when they close, so that others go on', async () => {
    await opened(10, 1);
    const holder = await ask(b);
    const waiting = [await ask(a), await ask(a), await ask(b)];
    await a.ledger.close();
    await fleet.quiet();
    expect(waiting.map(({ state }) => state.kind)).toEqual(['shed', 'shed', 'waiting']);
    b.desk.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(waiting[2]?.state.kind).toBe('granted');
  });

  test('say that they cannot work with a state of another layout', async () => {
    await fleet.redis.client.hset('h:{b}:state', 'layout', 99);
    await ask(a);
    expect(a.troubles[0]?.message).toMatch(/layout 99/);
  });

  test('do not ask without end for what only a socket can change', async () => {
    await opened(10, 5);
    a.ledger.pause('b');
    const waiting = await ask(a, { maxWaitMs: 10 * MINUTE_MS });
    await fleet.pass(59_000);
    const before = a.steps;
    // A minute after the last grant the bucket lets one go whatever it believes, if anybody can.
    for (let i = 0; i < 300; i++) {
      fleet.clock.advance(10);
      await fleet.quiet();
    }
    expect(waiting.state.kind).toBe('waiting');
    expect(a.steps - before).toBeLessThan(6);
  });

  test('pass on at once what was offered to one that has no socket any more', async () => {
    const full = fleet.add('full', { places: 1 });
    await opened(10, 1);
    const holder = await ask(a);
    const offered = await ask(full);
    const next = await ask(a);
    await fleet.pass(1100);
    // Its only socket goes to another bucket, and the script has not heard of that.
    expect(full.places.take()).toBe(true);
    a.desk.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(50);
    expect([offered.state.kind, next.state.kind]).toEqual(['waiting', 'granted']);
  });

  test('take a name for what it is, however broken its text', async () => {
    const asked = await ask(a, { caller: 'half a \ud83d pair', owner: '\udc00' });
    expect([asked.state.kind, a.troubles]).toEqual(['granted', []]);
  });

  test('keep what is out at one that only asks whether the server is back', async () => {
    await opened(10, 2);
    const out = [await ask(a), await ask(a)];
    const other = await ask(b);
    expect([granted(out), other.state.kind]).toEqual([2, 'waiting']);
    await a.ledger.probe('b');
    await fleet.quiet();
    expect(other.state.kind).toBe('waiting');
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(2);
    expect(await fleet.redis.client.hlen('h:{b}:tickets')).toBe(1);
  });

  test('leave keys that all end by themselves', async () => {
    await opened(10, 1);
    await ask(a);
    await ask(b, { caller: 'x' });
    const keys = await fleet.redis.client.keys('h:*');
    expect(keys.length).toBeGreaterThan(5);
    const ttls = await Promise.all(keys.map((key) => fleet.redis.client.pttl(key)));
    expect(Math.min(...ttls)).toBeGreaterThan(MINUTE_MS);
    expect(Math.max(...ttls)).toBeLessThan(4 * MINUTE_MS);
  });

  test('leave no key without an end that a replica made anew', async () => {
    const first = await ask(a);
    a.desk.answer(first, { limit: 10, remaining: 5, resetInMs: 30 * MINUTE_MS });
    await fleet.pass(11 * MINUTE_MS);
    // Whoever was not heard of for ten minutes is forgotten, and here that is everybody else.
    await ask(fleet.add('c'));
    const keys = await fleet.redis.client.keys('h:*');
    const ttls = await Promise.all(keys.map((key) => fleet.redis.client.pttl(key)));
    expect(Math.min(...ttls)).toBeGreaterThan(MINUTE_MS);
  });

  test('keep every key alive for as long as what is in it may matter', async () => {
    const { client } = fleet.redis;
    /** Lets the server's lifetimes pass as the clock of the test does. */
    async function pass(ms: number): Promise<number> {
      await fleet.pass(ms);
      let shortest = Infinity;
      for (const key of await client.keys('h:*')) {
        const left = (await client.pttl(key)) - ms;
        shortest = Math.min(shortest, left);
        await client.pexpire(key, Math.max(1, left));
      }
      return shortest;
    }
    await opened(10, 3);
    const [holder, late] = [await ask(a), await ask(b)];
    const patient = a.desk.ask({ maxWaitMs: 60 * MINUTE_MS, caller: 'patient' });
    await ask(a, { maxWaitMs: 60 * MINUTE_MS });
    let shortest = Infinity;
    for (let i = 0; i < 20; i++) {
      shortest = Math.min(shortest, await pass(45_000));
      const one = await ask(b, { maxWaitMs: 1000 });
      if (one.state.kind === 'granted') {
        b.desk.answer(one, { limit: 10, remaining: 0, resetInMs: 2 * MINUTE_MS });
      }
      await fleet.quiet();
    }
    expect(shortest).toBeGreaterThan(10_000);
    a.desk.answer(holder, { limit: 10, remaining: 5, resetInMs: MINUTE_MS });
    b.desk.answer(late, { limit: 10, remaining: 4, resetInMs: MINUTE_MS });
    await pass(2000);
    expect(patient.state.kind).toBe('granted');
  });
});

function theFirst(all: readonly Asked[]): Asked {
  const [first] = all;
  if (first === undefined) throw new Error('there is none');
  return first;
}

/** Waits for real work that the clock does not move. */
async function settled(done: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !done(); i++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
