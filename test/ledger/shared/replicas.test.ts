// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Asked } from '../../support/ledger-driver.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';
import { until } from '../../support/setup.ts';

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

  /** The first answer reports `remaining` of `limit`, and a reset in a minute; `b` knows of it. */
  async function opened(limit: number, remaining: number): Promise<void> {
    const first = await fleet.ask(a);
    a.driver.answer(first, { limit, remaining, resetInMs: MINUTE_MS });
    await fleet.quiet();
    const introduction = await fleet.ask(b, { caller: 'b-was-here' });
    if (introduction.state.kind === 'granted') b.driver.unsent(introduction);
    introduction.leave();
    await fleet.pass(100);
    a.driver.granted.length = 0;
    b.driver.granted.length = 0;
  }

  /** The time of the server's own clock, by which keys expire. */
  async function serverTime(): Promise<number> {
    const [seconds = 0, micros = 0] = (await fleet.redis.client.time()).map(Number);
    return 1000 * seconds + Math.floor(micros / 1000);
  }

  /**
   * How long each key lives at least, if it was written at `writtenAt` of the server's own clock. What
   * is left of that now depends on the machine.
   */
  async function lifetimes(writtenAt: number): Promise<ReadonlyMap<string, number>> {
    const { client } = fleet.redis;
    const found = new Map<string, number>();
    for (const key of await client.keys('h:*')) {
      found.set(key, Number(await client.call('PEXPIRETIME', key)) - writtenAt);
    }
    return found;
  }

  /** Lets the keys' time to live pass as the clock of the test does; returns the shortest left. */
  async function passWithKeys(ms: number): Promise<number> {
    const from = await serverTime();
    await fleet.pass(ms);
    let shortest = Infinity;
    for (const [key, lifetime] of await lifetimes(from)) {
      const left = lifetime - ms;
      shortest = Math.min(shortest, left);
      await fleet.redis.client.pexpire(key, Math.max(1, left));
    }
    return shortest;
  }

  function granted(all: readonly Asked[]): number {
    return all.filter(({ state }) => state.kind === 'granted').length;
  }

  test('spend one budget, and no more than it', async () => {
    await opened(10, 4);
    const asked = [];
    for (let i = 0; i < 6; i++) asked.push(await fleet.ask(i % 2 === 0 ? a : b));
    expect(granted(asked)).toBe(4);
    expect(b.ledger.view('b')).toMatchObject({ limit: 10, leases: 4 });
  });

  test('serve one caller in the order of arrival, whichever replica it calls', async () => {
    await opened(10, 0);
    const order: Asked[] = [];
    for (let i = 0; i < 6; i++) {
      order.push(await fleet.ask(i % 2 === 0 ? a : b));
      await fleet.pass(5);
    }
    await fleet.pass(MINUTE_MS);
    const granted = order.filter(({ state }) => state.kind === 'granted');
    expect(granted).toEqual([order[0]]);
    // Within the deadlines of those that go on to wait.
    a.driver.answer(theFirst(order), { limit: 10, remaining: 3, resetInMs: MINUTE_MS / 2 });
    await fleet.quiet();
    expect(order.map(({ state }) => state.kind)).toEqual([
      ...Array(4).fill('granted'),
      ...Array(2).fill('waiting'),
    ]);
  });

  test('let a flood at one delay a caller at another by one grant at most', async () => {
    await opened(10, 0);
    for (let i = 0; i < 30; i++) a.driver.ask({ caller: 'flood', owner: 'x' });
    await fleet.pass(10);
    const small = await fleet.ask(b, { caller: 'small', owner: 'y' });
    await fleet.pass(MINUTE_MS);
    const canary = a.driver.granted.length;
    expect([canary, small.state.kind]).toEqual([1, 'waiting']);
    await fleet.pass(1001);
    expect(small.state.kind).toBe('granted');
    expect(small.state).toMatchObject({ grant: { waitedFor: 'budget' } });
  });

  test('give a high priority at one its turn before a normal one at the other', async () => {
    await opened(10, 0);
    const normal = [];
    for (let i = 0; i < 4; i++) normal.push(await fleet.ask(a, { caller: 'n', owner: 'x' }));
    const high = [];
    for (let i = 0; i < 4; i++) {
      high.push(await fleet.ask(b, { caller: 'h', owner: 'y', priority: 'high' }));
    }
    await fleet.pass(MINUTE_MS);
    const canary = theFirst([...normal, ...high].filter(({ state }) => state.kind === 'granted'));
    const driver = normal.includes(canary) ? a.driver : b.driver;
    // Two of them are kept for the owner of the request that opened the bucket.
    driver.answer(canary, { limit: 10, remaining: 6, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(granted(high)).toBe(4);
    expect(granted(normal)).toBe(1);
  });

  test('take one step for each request that is granted at once, and no other step to settle it', async () => {
    await opened(100, 99);
    const before = a.steps;
    for (let i = 0; i < 5; i++) {
      const asked = await fleet.ask(a);
      expect(asked.state).toMatchObject({ kind: 'granted', grant: { waitedFor: 'nothing' } });
      a.driver.answer(asked, { limit: 100, remaining: 98 - i, resetInMs: MINUTE_MS });
    }
    expect(a.steps - before).toBe(5);
  });

  test('report with the next step what happens while one is under way', async () => {
    await opened(100, 99);
    const before = a.steps;
    const asked = Array.from({ length: 50 }, () => a.driver.ask());
    await fleet.quiet();
    expect(granted(asked)).toBe(50);
    expect(a.steps - before).toBe(2);
  });

  test('report with one step what one turn of the event loop brings', async () => {
    await opened(100, 99);
    let endTurn = (): void => undefined;
    const atEndOfTurn = (run: () => void): void => {
      endTurn = run;
    };
    const c = fleet.add('c', { atEndOfTurn });
    const asked = Array.from({ length: 50 }, () => c.driver.ask());
    expect(c.steps).toBe(0);
    endTurn();
    await fleet.quiet();
    expect(granted(asked)).toBe(50);
    expect(c.steps).toBe(1);
    // A settlement starts a step only when its turn ends.
    for (const one of asked) c.driver.unsent(one);
    endTurn();
    await fleet.quiet();
    expect(c.steps).toBe(2);
  });

  test('report answers with a step that is taken anyway, else soon, and once', async () => {
    await opened(100, 99);
    const before = a.steps;
    const first = await fleet.ask(a);
    a.driver.answer(first, { limit: 100, remaining: 98, resetInMs: MINUTE_MS });
    const second = await fleet.ask(a);
    await fleet.pass(1000);
    expect(a.steps - before).toBe(2);
    a.driver.answer(second, { limit: 100, remaining: 97, resetInMs: MINUTE_MS });
    await fleet.pass(19);
    expect(a.steps - before).toBe(2);
    await fleet.pass(10_000);
    expect(a.steps - before).toBe(3);
    await fleet.ask(b);
    expect(b.ledger.view('b')).toMatchObject({ remaining: 97, leases: 1 });
  });

  test('bound the steps under way, so that a thousand buckets do not wait for each other', async () => {
    let most = 0;
    let underWay = 0;
    const many = Array.from({ length: 300 }, (_, i) => `bucket-${i}`);
    a.interceptAll = async (run) => {
      most = Math.max(most, ++underWay);
      try {
        return await run();
      } finally {
        underWay--;
      }
    };
    const asked = many.map((bucket) => a.driver.ask({ bucket }));
    await fleet.quiet();
    await until('all sockets are taken', () => granted(asked) > 99);
    expect(most).toBe(64);
    expect(a.troubles).toEqual([]);
    // There are a hundred sockets; the other tickets wait for one.
    expect(granted(asked)).toBe(100);
  });

  test('do not take an answer for a newer one because its step was delayed', async () => {
    await opened(100, 50);
    const [first, second] = [await fleet.ask(a), await fleet.ask(a)];
    const resetAt = fleet.clock.now() + MINUTE_MS;
    const say = (remaining: number) => ({
      limit: 100,
      remaining,
      resetInMs: resetAt - fleet.clock.now(),
    });
    a.driver.answer(second, say(48));
    await fleet.pass(25);
    // To the server, the resets that the step reports seem this much later.
    fleet.serverAheadMs = 60;
    a.driver.answer(first, say(49));
    await fleet.pass(25);
    expect(a.ledger.view('b')).toMatchObject({ remaining: 48, leases: 0 });
  });

  test('learn by heartbeat of grants whose message was lost', async () => {
    await opened(10, 1);
    const holder = await fleet.ask(a);
    const waiting = await fleet.ask(b);
    b.losesMessages = true;
    a.driver.answer(holder, { limit: 10, remaining: 5, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(waiting.state.kind).toBe('waiting');
    await fleet.pass(1000);
    expect(waiting.state.kind).toBe('granted');
  });

  test('learn of sheds whose message was lost', async () => {
    const [c, d] = [fleet.add('c', { maxQueue: 4 }), fleet.add('d', { maxQueue: 4 })];
    const first = await fleet.ask(c);
    const flood = [];
    for (let i = 0; i < 4; i++) flood.push(await fleet.ask(d, { caller: 'flood', owner: 'x' }));
    d.losesMessages = true;
    const other = await fleet.ask(c, { caller: 'other', owner: 'y' });
    expect([first.state.kind, other.state.kind]).toEqual(['granted', 'waiting']);
    expect(flood[3]?.state.kind).toBe('waiting');
    await fleet.pass(4000);
    // The first request has no answer, so another is granted now and then; the rest wait.
    const waiting = [...flood, other].filter(({ state }) => state.kind === 'waiting');
    expect(waiting).toContain(flood[3]);
    expect(d.ledger.view('b')?.waiting).toBe(waiting.length);
  });

  test('ignore a step that ran only after its replica had given it up', async () => {
    await opened(10, 2);
    let late: (() => Promise<unknown>) | undefined;
    a.interceptNext = (run) => {
      late = run;
      return NEVER;
    };
    const asked = a.driver.ask();
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
    await until('it is granted', () => asked.state.kind === 'granted');
    const before = await fleet.redis.client.hgetall('h:{b}:state');
    expect(await late?.()).toBe('{"status":"stale"}');
    expect(await fleet.redis.client.hgetall('h:{b}:state')).toEqual(before);
  });

  test('do not grant twice when the reply to a step that ran was lost', async () => {
    await opened(10, 2);
    a.interceptNext = async (run) => {
      await run();
      throw new Error('the connection broke');
    };
    const asked = await fleet.ask(a);
    expect(asked.state.kind).toBe('waiting');
    await fleet.pass(500);
    expect(asked.state.kind).toBe('granted');
    const leases = await fleet.redis.client.zcard('h:{b}:leases');
    expect(leases).toBe(a.ledger.view('b')?.leases);
    expect(a.driver.granted).toHaveLength(1);
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
    const held = [await fleet.ask(a), await fleet.ask(b)];
    for (const [i, one] of held.entries()) {
      const driver = i === 0 ? a.driver : b.driver;
      driver.answer(one, { limit: 10, remaining: 4 - i, resetInMs: MINUTE_MS });
    }
    await fleet.pass(100);
    const out = [await fleet.ask(a), await fleet.ask(b)];
    await harm();
    const after = [];
    for (let i = 0; i < 6; i++) after.push(await fleet.ask(i % 2 === 0 ? a : b));
    // Three were left, two are in flight: at most one more and a canary may be granted.
    expect(granted(out)).toBe(2);
    expect(granted(after)).toBeLessThanOrEqual(2);
    const canary = after.find(({ state }) => state.kind === 'granted');
    if (canary !== undefined) {
      const driver = after.indexOf(canary) % 2 === 0 ? a.driver : b.driver;
      driver.answer(canary, { limit: 10, remaining: 0, resetInMs: MINUTE_MS });
    }
    await fleet.pass(3000);
    expect(granted(after)).toBeLessThanOrEqual(2);
    await fleet.pass(2 * MINUTE_MS - 4000);
    expect(after.filter(({ state }) => state.kind === 'waiting')).toEqual([]);
  });

  test('take back what was offered to a suspended replica, and serve others', async () => {
    await opened(10, 1);
    const holder = await fleet.ask(a);
    const sleeper = await fleet.ask(b);
    const other = await fleet.ask(a);
    b.losesMessages = true;
    b.losesSteps = true;
    a.driver.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(1900);
    expect([sleeper.state.kind, other.state.kind]).toEqual(['waiting', 'waiting']);
    await fleet.pass(1100);
    expect([sleeper.state.kind, other.state.kind]).toEqual(['waiting', 'granted']);
    // It resumes after its tickets were dropped, declares them, and waits as others do.
    await fleet.pass(12_000);
    b.losesMessages = false;
    b.losesSteps = false;
    await fleet.pass(1000);
    expect(sleeper.state.kind).toBe('waiting');
    await fleet.pass(MINUTE_MS);
    expect(sleeper.state.kind).toBe('granted');
  });

  test('do not use an offer of an old message', async () => {
    await opened(10, 1);
    const holder = await fleet.ask(a);
    const sleeper = await fleet.ask(b);
    const other = await fleet.ask(a);
    const messages: string[] = [];
    const listen = b.ledger.receive.bind(b.ledger);
    b.ledger.receive = (text) => void messages.push(text);
    b.losesSteps = true;
    a.driver.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(4000);
    expect(other.state.kind).toBe('granted');
    b.ledger.receive = listen;
    for (const text of messages) b.ledger.receive(text);
    await fleet.quiet();
    expect([messages.length, sleeper.state.kind]).toEqual([1, 'waiting']);
  });

  test('go on when the clock of the server goes back by an hour', async () => {
    await opened(10, 1);
    const first = await fleet.ask(a);
    const second = await fleet.ask(b);
    fleet.serverAheadMs = -3_600_000;
    await fleet.pass(1000);
    expect(second.state.kind).toBe('waiting');
    a.driver.answer(first, { limit: 10, remaining: 2, resetInMs: MINUTE_MS });
    await fleet.pass(20);
    expect(second.state.kind).toBe('granted');
    expect(a.ledger.view('b')?.resetInMs).toBeCloseTo(MINUTE_MS, -2);
  });

  test('remove their tickets when they close, so that others are granted', async () => {
    await opened(10, 1);
    const holder = await fleet.ask(b);
    const waiting = [await fleet.ask(a), await fleet.ask(a), await fleet.ask(b)];
    await a.ledger.close();
    await fleet.quiet();
    expect(waiting.map(({ state }) => state.kind)).toEqual(['shed', 'shed', 'waiting']);
    b.driver.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.quiet();
    expect(waiting[2]?.state.kind).toBe('granted');
  });

  test('report that they cannot work with a state of another layout', async () => {
    await fleet.redis.client.hset('h:{b}:state', 'layout', 99);
    await fleet.ask(a);
    expect(a.troubles[0]?.message).toMatch(/layout 99/);
  });

  test('do not step again and again while only a socket is missing', async () => {
    await opened(10, 5);
    a.ledger.pause('b');
    const waiting = await fleet.ask(a, { maxWaitMs: 10 * MINUTE_MS });
    await fleet.pass(59_000);
    const before = a.steps;
    // A minute after the last grant the bucket grants one whatever it believes, if a socket is free.
    for (let i = 0; i < 300; i++) {
      fleet.clock.advance(10);
      await fleet.quiet();
    }
    expect(waiting.state.kind).toBe('waiting');
    expect(a.steps - before).toBeLessThan(6);
  });

  test('pass on at once an offer to a replica that has no socket any more', async () => {
    const full = fleet.add('full', { sockets: 1 });
    await opened(10, 1);
    const holder = await fleet.ask(a);
    const offered = await fleet.ask(full);
    const next = await fleet.ask(a);
    await fleet.pass(1100);
    // Its only socket is taken by another bucket, and the script does not know of that.
    expect(full.permits.take()).toBe(true);
    a.driver.answer(holder, { limit: 10, remaining: 1, resetInMs: MINUTE_MS });
    await fleet.pass(50);
    expect([offered.state.kind, next.state.kind]).toEqual(['waiting', 'granted']);
  });

  test('accept a name that is not valid Unicode', async () => {
    const asked = await fleet.ask(a, { caller: 'half a \ud83d pair', owner: '\udc00' });
    expect([asked.state.kind, a.troubles]).toEqual(['granted', []]);
  });

  test('keep the leases of a replica that only probes the server', async () => {
    await opened(10, 2);
    const out = [await fleet.ask(a), await fleet.ask(a)];
    const other = await fleet.ask(b);
    expect([granted(out), other.state.kind]).toEqual([2, 'waiting']);
    await a.ledger.probe('b');
    await fleet.quiet();
    expect(other.state.kind).toBe('waiting');
    expect(await fleet.redis.client.zcard('h:{b}:leases')).toBe(2);
    expect(await fleet.redis.client.hlen('h:{b}:tickets')).toBe(1);
  });

  test('leave keys that all expire', async () => {
    await opened(10, 1);
    await fleet.ask(a);
    await fleet.ask(b, { caller: 'x' });
    const keys = await fleet.redis.client.keys('h:*');
    expect(keys.length).toBeGreaterThan(5);
    const ttls = await Promise.all(keys.map((key) => fleet.redis.client.pttl(key)));
    expect(Math.min(...ttls)).toBeGreaterThan(MINUTE_MS);
    expect(Math.max(...ttls)).toBeLessThan(4 * MINUTE_MS);
  });

  test('keep the tickets as long as the state, also after a long block that was lifted', async () => {
    const { client } = fleet.redis;
    await opened(10, 2);
    const [blocking, lifting] = [await fleet.ask(a), await fleet.ask(a)];
    a.driver.answer(blocking, { status: 429, retryInMs: 30 * MINUTE_MS });
    await fleet.pass(100);
    a.driver.answer(lifting, { limit: 10, remaining: 1, resetInMs: 2 * MINUTE_MS });
    await fleet.pass(100);
    const [last, waiting] = [await fleet.ask(a), await fleet.ask(a)];
    expect([last.state.kind, waiting.state.kind]).toEqual(['granted', 'waiting']);
    const [state, ...others] = await Promise.all(
      ['state', 'leases', 'queue', 'tickets', 'active', 'flows'].map((end) =>
        client.pttl(`h:{b}:${end}`),
      ),
    );
    expect(state).toBeGreaterThan(30 * MINUTE_MS);
    expect(Math.min(...others)).toBeGreaterThan(30 * MINUTE_MS);
  });

  test('leave keys that all expire after a step that emptied and filled the queue', async () => {
    await opened(10, 1);
    await fleet.ask(a);
    const first = await fleet.ask(a, { caller: 'x' });
    first.leave();
    a.driver.ask({ caller: 'y' });
    await fleet.quiet();
    const keys = await fleet.redis.client.keys('h:*');
    expect(keys).toContain('h:{b}:queue');
    const ttls = await Promise.all(keys.map((key) => fleet.redis.client.pttl(key)));
    expect(Math.min(...ttls)).toBeGreaterThan(MINUTE_MS);
  });

  test('leave a bucket that never learned a limit for less than half a minute', async () => {
    const shortest = async (writtenAt: number): Promise<number> =>
      Math.min(...(await lifetimes(writtenAt)).values());
    const startedAt = await serverTime();
    const invented = [await fleet.ask(a), await fleet.ask(a)];
    expect(invented.map(({ state }) => state.kind)).toEqual(['granted', 'waiting']);
    // The lease of ten seconds does not outlast any key, nor does the ticket.
    expect(await shortest(startedAt)).toBeGreaterThan(15_000);
    const answeredAt = await serverTime();
    for (const one of invented) {
      a.driver.answer(one, { status: 401 });
      await fleet.pass(100);
    }
    const left = await lifetimes(await serverTime());
    expect([...left.keys()]).toEqual(['h:{b}:state']);
    expect(await shortest(answeredAt)).toBeGreaterThan(5000);
    expect(Math.max(...left.values())).toBeLessThan(21_000);
  });

  test('add no more buckets for invented credentials than one owner may have', async () => {
    const small = fleet.add('small', { maxBuckets: 50, maxBucketsPerOwner: 10 });
    const codes = new Map<string, number>();
    for (let i = 0; i < 200; i++) {
      const asked = await fleet.ask(small, { bucket: `invented-${i}` });
      if (asked.state.kind === 'granted') small.driver.answer(asked, { status: 401 });
      const outcome = asked.state.kind === 'shed' ? asked.state.code : asked.state.kind;
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
      await fleet.pass(25);
    }
    expect(Object.fromEntries(codes)).toEqual({ granted: 12, 'too-many-buckets-of-owner': 188 });
    expect(await fleet.redis.client.keys('h:*:state')).toHaveLength(12);
  });

  test('keep a bucket that never learned a limit for as long as it is blocked or has tickets', async () => {
    const { client } = fleet.redis;
    const first = await fleet.ask(a);
    a.driver.answer(first, { status: 429, retryInMs: 5 * MINUTE_MS });
    await fleet.pass(100);
    expect(await client.pttl('h:{b}:state')).toBeGreaterThan(5 * MINUTE_MS);
    const patient = await fleet.ask(b, { maxWaitMs: 60 * MINUTE_MS });
    let shortest = Infinity;
    for (let i = 0; i < 100; i++) shortest = Math.min(shortest, await passWithKeys(2950));
    expect(patient.state.kind).toBe('waiting');
    expect(shortest).toBeGreaterThan(0);
    await passWithKeys(6000);
    expect(patient.state.kind).toBe('granted');
    // A lease counts for ten seconds.
    expect(await passWithKeys(4000)).toBeGreaterThan(0);
    expect(await client.zcard('h:{b}:leases')).toBe(1);
  });

  test('leave no key without expiry that a replica created again', async () => {
    const first = await fleet.ask(a);
    a.driver.answer(first, { limit: 10, remaining: 5, resetInMs: 30 * MINUTE_MS });
    await fleet.pass(11 * MINUTE_MS);
    // A replica that did not step for ten minutes is forgotten; here that is every other one.
    await fleet.ask(fleet.add('c'));
    const keys = await fleet.redis.client.keys('h:*');
    const ttls = await Promise.all(keys.map((key) => fleet.redis.client.pttl(key)));
    expect(Math.min(...ttls)).toBeGreaterThan(MINUTE_MS);
  });

  test('keep every key for as long as its content may matter', async () => {
    await opened(10, 3);
    const [holder, late] = [await fleet.ask(a), await fleet.ask(b)];
    const patient = a.driver.ask({ maxWaitMs: 60 * MINUTE_MS, caller: 'patient' });
    await fleet.ask(a, { maxWaitMs: 60 * MINUTE_MS });
    let shortest = Infinity;
    for (let i = 0; i < 20; i++) {
      shortest = Math.min(shortest, await passWithKeys(45_000));
      const one = await fleet.ask(b, { maxWaitMs: 1000 });
      if (one.state.kind === 'granted') {
        b.driver.answer(one, { limit: 10, remaining: 0, resetInMs: 2 * MINUTE_MS });
      }
      await fleet.quiet();
    }
    expect(shortest).toBeGreaterThan(10_000);
    a.driver.answer(holder, { limit: 10, remaining: 5, resetInMs: MINUTE_MS });
    b.driver.answer(late, { limit: 10, remaining: 4, resetInMs: MINUTE_MS });
    await passWithKeys(2000);
    expect(patient.state.kind).toBe('granted');
  });
});

function theFirst(all: readonly Asked[]): Asked {
  const [first] = all;
  if (first === undefined) throw new Error('there is none');
  return first;
}
