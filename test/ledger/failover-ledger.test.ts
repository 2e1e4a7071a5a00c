// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ConfiguredLimit } from '../../src/budget/bucket.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import { FailoverLedger } from '../../src/ledger/failover-ledger.ts';
import { BucketTrouble } from '../../src/ledger/shared/bucket-trouble.ts';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { LedgerDriver, FakePermits, type Asked } from '../support/ledger-driver.ts';
import { Replicas, type Replica } from '../support/redis-replicas.ts';
import { seededRandom } from '../support/seeded-random.ts';

const MINUTE_MS = 60_000;
const REPLICAS = 3;

describe('a failover ledger', () => {
  let fleet: Replicas;
  let shared: Replica;
  let failover: FailoverLedger;
  let driver: LedgerDriver;
  let socketPermits: FakePermits;
  let lines: string[];
  let modes: string[];
  let configuredLimit: ConfiguredLimit | undefined;
  /** Whether probes find the server away. */
  let isAway: boolean;
  let renewals = 0;

  beforeAll(async () => {
    fleet = await Replicas.start();
  });
  afterAll(() => fleet.stop());

  beforeEach(() => {
    const { clock } = fleet;
    lines = [];
    modes = [];
    isAway = false;
    renewals = 0;
    configuredLimit = undefined;
    shared = fleet.add('r1');
    socketPermits = new FakePermits(100);
    const local = new LocalLedger({
      clock,
      random: seededRandom(1),
      apiClock: new ApiClock(),
      socketPermits,
      maxQueue: 100,
      get configuredLimit() {
        return configuredLimit;
      },
      standIn: { replicas: () => REPLICAS },
    });
    failover = new FailoverLedger({
      shared: shared.ledger,
      local,
      replicas: () => REPLICAS,
      async probe(bucketId) {
        if (isAway) throw new Error('still away');
        if (bucketId !== undefined) await shared.ledger.probe(bucketId);
      },
      renew: () => renewals++,
      clock,
      random: () => 0.5,
      log: makeLog({
        level: 'info',
        replica: 'r1',
        clock,
        destination: { write: (line) => void lines.push(line) },
      }),
      observer: { mode: (mode) => void modes.push(mode) },
    });
    const ledger = new DrawsLedger({ ledger: failover, clock, socketPermits });
    driver = new LedgerDriver(ledger, clock, socketPermits);
  });

  afterEach(async () => {
    const closed = failover.close();
    await fleet.pass(1000);
    await closed;
    await fleet.clear();
  });

  async function ask(options: Parameters<LedgerDriver['ask']>[0] = {}): Promise<Asked> {
    const asked = driver.ask(options);
    await fleet.quiet();
    return asked;
  }

  async function opened(limit: number, remaining: number): Promise<void> {
    const first = await ask();
    driver.answer(first, { limit, remaining, resetInMs: MINUTE_MS });
    await fleet.pass(100);
    driver.granted.length = 0;
  }

  function lose(): void {
    isAway = true;
    failover.trouble(new Error('it is away'), 'b');
  }

  function granted(all: readonly Asked[]): number {
    return all.filter(({ state }) => state.kind === 'granted').length;
  }

  test('opens the connections again when probes have failed for long', async () => {
    await opened(90, 60);
    lose();
    await fleet.pass(2000);
    expect(renewals).toBe(0);
    await fleet.pass(10_000);
    expect(renewals).toBe(1);
    await fleet.pass(60_000);
    expect(renewals).toBeGreaterThan(1);
    isAway = false;
    await fleet.pass(20_000);
    const before = renewals;
    await fleet.pass(60_000);
    expect(renewals).toBe(before);
  });

  test('spends a share of the budget while the shared ledger is away', async () => {
    await opened(90, 60);
    lose();
    const asked = Array.from({ length: 30 }, () => driver.ask());
    // The last one is granted after the other replicas' turn: its answer reports what they leave.
    expect(granted(asked)).toBe(19);
    expect(failover.view('b')).toMatchObject({ limit: 30, remaining: 19, waiting: 11 });
    await fleet.pass(1000);
    expect(granted(asked)).toBe(20);
  });

  test('sheds no ticket for which something is left before the reset', async () => {
    const first = await ask();
    driver.answer(first, { limit: 90, remaining: 60, resetInMs: 60 * MINUTE_MS });
    await fleet.pass(100);
    driver.granted.length = 0;
    lose();
    const asked = Array.from({ length: 20 }, () => driver.ask());
    expect(asked.map(({ state }) => state.kind).filter((kind) => kind === 'waiting')).toHaveLength(
      1,
    );
    await fleet.pass(1000);
    expect(granted(asked)).toBe(20);
  });

  test('has a share of a budget that it opens only during the outage', async () => {
    lose();
    const first = driver.ask();
    driver.answer(first, { limit: 90, remaining: 89, resetInMs: MINUTE_MS });
    const asked = Array.from({ length: 40 }, () => driver.ask());
    expect(granted(asked)).toBe(29);
  });

  test('prefers the limit that the API reported to the configured one', async () => {
    await opened(90, 60);
    lose();
    configuredLimit = { limit: 600, periodMs: MINUTE_MS };
    expect(failover.view('b')).toMatchObject({ limit: 30, remaining: 19 });
  });

  test('has a share of a configured limit where the API reports none', async () => {
    configuredLimit = { limit: 90, periodMs: MINUTE_MS };
    lose();
    const asked = Array.from({ length: 40 }, () => driver.ask());
    expect(granted(asked)).toBe(30);
    configuredLimit = { limit: 60, periodMs: MINUTE_MS };
    expect(failover.view('b')).toMatchObject({ limit: 20 });
  });

  test('moves waiting tickets in the order of age, without an outcome', async () => {
    await opened(90, 0);
    const waiting = [await ask(), await ask({ caller: 'other' }), await ask()];
    lose();
    expect(waiting.map(({ state }) => state.kind)).toEqual(Array(3).fill('waiting'));
    expect(failover.view('b')?.waiting).toBe(3);
    isAway = false;
    await fleet.pass(500);
    expect(failover.mode).toBe('redis');
    expect(failover.view('b')?.waiting).toBe(3);
    expect(await fleet.redis.client.hlen('h:{b}:tickets')).toBe(3);
    expect(waiting.map(({ state }) => state.kind)).toEqual(Array(3).fill('waiting'));
  });

  test('settles with the ledger in use by then, and remembers what it spent', async () => {
    await opened(90, 60);
    const before = await ask();
    lose();
    const during = await ask();
    driver.answer(before, { limit: 90, remaining: 58, resetInMs: MINUTE_MS });
    isAway = false;
    await fleet.pass(500);
    driver.answer(during, { limit: 90, remaining: 57, resetInMs: MINUTE_MS });
    await fleet.pass(100);
    expect(failover.view('b')).toMatchObject({ limit: 90, remaining: 57, leases: 0 });
  });

  test('counts what others spent meanwhile once the API has reported it', async () => {
    await opened(90, 60);
    lose();
    const during = await ask();
    driver.answer(during, { limit: 90, remaining: 3, resetInMs: MINUTE_MS });
    isAway = false;
    await fleet.pass(500);
    const after = Array.from({ length: 10 }, () => driver.ask());
    await fleet.quiet();
    // A canary tests the belief first.
    expect(granted(after)).toBe(1);
    const canary = after.find(({ state }) => state.kind === 'granted');
    if (canary === undefined) throw new Error('no ticket was granted');
    driver.answer(canary, { limit: 90, remaining: 2, resetInMs: MINUTE_MS });
    await fleet.pass(100);
    expect(granted(after)).toBe(3);
  });

  test('probes after a while, and less and less often', async () => {
    await opened(90, 60);
    lose();
    await fleet.pass(60_000);
    expect(failover.mode).toBe('local');
    isAway = false;
    await fleet.pass(10_000);
    expect(failover.mode).toBe('redis');
  });

  test('logs each change once, with its reason', async () => {
    await opened(90, 60);
    lose();
    failover.trouble(new Error('it is still away'), 'b');
    isAway = false;
    await fleet.pass(500);
    const logged = lines.map((line): unknown => JSON.parse(line));
    expect(logged).toMatchObject([
      { level: 'warn', msg: 'ledger', ledger: 'local', replicas: 3, reason: 'it is away' },
      { level: 'info', msg: 'ledger', ledger: 'redis' },
    ]);
    expect(modes).toEqual(['redis', 'local', 'redis']);
  });

  describe('with one bucket in trouble', () => {
    let isDamaged: boolean;

    beforeEach(async () => {
      isDamaged = true;
      await opened(90, 60);
      driver.answer(await ask({ bucket: 'sound' }), {
        limit: 90,
        remaining: 60,
        resetInMs: MINUTE_MS,
      });
      await fleet.pass(100);
    });

    function damage(bucketId = 'b'): void {
      isAway = isDamaged;
      failover.trouble(new BucketTrouble('it is damaged'), bucketId);
    }

    test('moves this one alone, with its tickets and grants, and moves it back', async () => {
      const held = await ask();
      failover.pause('b');
      await fleet.quiet();
      const waiting = await ask();
      const elsewhere = await ask({ bucket: 'sound' });
      damage();
      expect(failover.mode).toBe('redis');
      expect(failover.view('b')).toMatchObject({ limit: 30, waiting: 1, leases: 1, paused: true });
      expect(failover.view('sound')).toMatchObject({ limit: 90, leases: 1 });
      expect(failover.snapshot().map(({ id }) => id)).toEqual(['sound', 'b']);
      const before = shared.steps;
      driver.answer(held, { limit: 90, remaining: 59, resetInMs: MINUTE_MS });
      failover.resume('b');
      await fleet.quiet();
      expect(waiting.state.kind).toBe('granted');
      expect(shared.steps).toBe(before);

      isAway = false;
      await fleet.pass(1000);
      expect(failover.view('b')).toMatchObject({ limit: 90, leases: 1 });
      for (const one of [waiting, elsewhere]) {
        driver.answer(one, { limit: 90, remaining: 58, resetInMs: MINUTE_MS });
      }
      await fleet.pass(100);
      expect(failover.view('b')).toMatchObject({ limit: 90, remaining: 58, leases: 0 });
      expect(modes).toEqual(['redis']);
      expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([
        { level: 'warn', msg: 'ledger', ledger: 'local', bucket: 'b', reason: 'it is damaged' },
        { level: 'info', msg: 'ledger', ledger: 'redis', bucket: 'b' },
      ]);
    });

    test('probes it less and less often, also when each probe succeeds in vain', async () => {
      isDamaged = false;
      for (let i = 0; i < 60; i++) {
        damage();
        await fleet.pass(1000);
      }
      // Each trouble is a line, and each return is one.
      expect(lines.length).toBeGreaterThan(4);
      expect(lines.length).toBeLessThan(25);
    });

    test('moves all when the server fails meanwhile, and all of them back', async () => {
      damage();
      const [inB, inSound] = [await ask(), await ask({ bucket: 'sound' })];
      lose();
      expect(failover.mode).toBe('local');
      expect(failover.view('b')).toMatchObject({ leases: 1 });
      expect(failover.view('sound')).toMatchObject({ limit: 30, leases: 1 });
      isAway = false;
      await fleet.pass(1000);
      expect(failover.mode).toBe('redis');
      for (const one of [inB, inSound]) {
        driver.answer(one, { limit: 90, remaining: 58, resetInMs: MINUTE_MS });
      }
      await fleet.pass(100);
      for (const id of ['b', 'sound']) {
        expect(failover.view(id)).toMatchObject({ limit: 90, remaining: 58, leases: 0 });
      }
      expect(lines).toHaveLength(3);
    });

    test('moves all when more than a hundred are in trouble', () => {
      for (let i = 0; i < 100; i++) damage(`b${i}`);
      expect(failover.mode).toBe('redis');
      damage('b100');
      expect(failover.mode).toBe('local');
    });
  });

  test('keeps a bucket paused through each change', async () => {
    await opened(90, 60);
    expect(failover.pause('b')).toBe(true);
    await fleet.quiet();
    const waiting = [await ask()];
    lose();
    waiting.push(await ask());
    expect(granted(waiting)).toBe(0);
    isAway = false;
    await fleet.pass(2000);
    expect(granted(waiting)).toBe(0);
    failover.resume('b');
    await fleet.quiet();
    expect(granted(waiting)).toBe(2);
  });

  describe('for a request of two buckets', () => {
    const BOTH = { bucket: 'day', others: ['minute'] } as const;

    beforeEach(async () => {
      for (const [bucket, remaining, resetInMs] of [
        ['day', 60, 60 * MINUTE_MS],
        ['minute', 0, MINUTE_MS],
      ] as const) {
        driver.answer(await ask({ bucket }), { limit: 90, remaining, resetInMs });
        await fleet.pass(100);
      }
    });

    async function settleAll(asked: readonly Asked[]): Promise<void> {
      const own = asked.filter(({ state }) => state.kind === 'granted');
      for (const one of own) driver.unsent(one);
      await fleet.pass(1000);
      for (const id of ['day', 'minute']) {
        expect(failover.view(id)).toMatchObject({ limit: 90, leases: 0, waiting: 0 });
      }
      expect(socketPermits.free + shared.permits.free).toBe(200);
    }

    test('keeps what it holds through an outage that ends before its grant', async () => {
      const waiting = await ask(BOTH);
      lose();
      await fleet.pass(3000);
      expect(failover.view('day')).toMatchObject({ leases: 1 });
      expect(waiting.state.kind).toBe('waiting');
      isAway = false;
      await fleet.pass(6000);
      expect(failover.mode).toBe('redis');
      expect(failover.view('day')).toMatchObject({ leases: 1 });
      await fleet.pass(MINUTE_MS - 9000);
      expect(waiting.state.kind).toBe('granted');
      await settleAll([waiting]);
      expect(failover.view('day')).toMatchObject({ remaining: 60 });
    });

    test('is granted during an outage, and returned after it', async () => {
      const waiting = await ask(BOTH);
      lose();
      await fleet.pass(MINUTE_MS);
      expect(failover.mode).toBe('local');
      expect(waiting.state.kind).toBe('granted');
      isAway = false;
      await fleet.pass(9000);
      await settleAll([waiting]);
    });

    test('loses nothing when Redis returns without its data', async () => {
      const waiting = [await ask(BOTH), await ask(BOTH)];
      await fleet.redis.client.flushall();
      lose();
      waiting.push(await ask(BOTH));
      isAway = false;
      await fleet.pass(2000);
      expect(failover.mode).toBe('redis');
      expect(failover.view('day')).toMatchObject({ leases: 3 });
      const [first] = waiting;
      first?.leave();
      await fleet.pass(1000);
      expect(failover.view('day')).toMatchObject({ leases: 2 });
      await fleet.pass(MINUTE_MS);
      expect(granted(waiting)).toBe(2);
      await settleAll(waiting);
    });

    test('has its buckets at two ledgers while one is in trouble', async () => {
      const waiting = await ask(BOTH);
      isAway = true;
      failover.trouble(new BucketTrouble('it is damaged'), 'minute');
      expect(failover.view('day')).toMatchObject({ limit: 90, leases: 1 });
      expect(failover.view('minute')).toMatchObject({ limit: 30, waiting: 1 });
      await fleet.pass(MINUTE_MS);
      expect(waiting.state.kind).toBe('granted');
      expect(failover.view('minute')).toMatchObject({ leases: 1 });
      isAway = false;
      await fleet.pass(8000);
      await settleAll([waiting]);
      expect(failover.view('day')).toMatchObject({ remaining: 60 });
    });
  });
});
