import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BucketBounds } from '../../src/ledger/bucket-map.ts';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { statedShares, type StatedShares } from '../../src/queue/caller-rules.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { LedgerDriver, FakePermits, type Asked } from '../support/ledger-driver.ts';

export interface LedgerParts extends BucketBounds {
  readonly clock: FakeClock;
  readonly socketPermits: FakePermits;
  readonly maxQueue: number;
  readonly configuredLimit?: { readonly limit: number; readonly periodMs: number } | undefined;
  readonly shares?: StatedShares | undefined;
}

export interface LedgerUnderTest {
  readonly ledger: Ledger;
  /** Lets everything finish that is under way at this moment of the clock. */
  quiet(): Promise<void>;
}

const MAX_QUEUE = 20;
const MINUTE_MS = 60_000;
/** A new bucket counts for the bounds of new ones for this long, where Redis keeps it. */
const NEW_MS = 20_000;

/** The contract of every ledger. */
export function ledgerTests(
  name: string,
  make: (parts: LedgerParts) => Promise<LedgerUnderTest> | LedgerUnderTest,
): void {
  describe(`the ${name} ledger`, () => {
    let clock: FakeClock;
    let socketPermits: FakePermits;
    let made: LedgerUnderTest;
    let driver: LedgerDriver;

    async function open(
      options: BucketBounds &
        Partial<Pick<LedgerParts, 'configuredLimit' | 'shares'>> & { sockets?: number } = {},
    ) {
      const { sockets = 1000, ...parts } = options;
      clock = new FakeClock();
      socketPermits = new FakePermits(sockets);
      made = await make({ clock, socketPermits, maxQueue: MAX_QUEUE, ...parts });
      const ledger = new DrawsLedger({ ledger: made.ledger, clock, socketPermits });
      driver = new LedgerDriver(ledger, clock, socketPermits);
    }

    function pass(ms: number): Promise<void> {
      return clock.pass(ms, () => made.quiet());
    }

    async function ask(options: Parameters<LedgerDriver['ask']>[0] = {}): Promise<Asked> {
      const asked = driver.ask(options);
      await made.quiet();
      return asked;
    }

    /** Opens a bucket: its first answer reports `remaining` of `limit`, and a reset in a minute. */
    async function opened(limit: number, remaining: number, bucket = 'b'): Promise<void> {
      const first = await ask({ bucket, caller: 'opener' });
      driver.answer(first, { limit, remaining, resetInMs: MINUTE_MS });
      await made.quiet();
      driver.granted.length = 0;
    }

    function kinds(all: readonly Asked[]): string[] {
      return all.map(({ state }) => state.kind);
    }

    beforeEach(() => open());
    afterEach(() => made.ledger.close());

    test('opens an unknown bucket with one request, and the others wait for its answer', async () => {
      const [first, second, third] = [await ask(), await ask(), await ask()];
      expect(kinds([first, second, third])).toEqual(['granted', 'waiting', 'waiting']);
      driver.answer(first, { limit: 10, remaining: 9, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(kinds([second, third])).toEqual(['granted', 'granted']);
    });

    test('spends exactly what remains, and continues when the budget refills', async () => {
      await opened(5, 3);
      const asked = [];
      for (let i = 0; i < 6; i++) asked.push(await ask());
      expect(kinds(asked)).toEqual([...Array(3).fill('granted'), ...Array(3).fill('waiting')]);
      let remaining = 3;
      for (const one of asked.slice(0, 3)) {
        driver.answer(one, { limit: 5, remaining: --remaining, resetInMs: MINUTE_MS });
      }
      await pass(MINUTE_MS - 1);
      expect(kinds(asked.slice(3))).toEqual(['waiting', 'waiting', 'waiting']);
      await pass(1);
      const canaries = asked.slice(3).filter(({ state }) => state.kind === 'granted');
      expect(canaries).toHaveLength(1);
      for (const one of canaries) {
        driver.answer(one, { limit: 5, remaining: 4, resetInMs: MINUTE_MS });
      }
      await made.quiet();
      expect(kinds(asked)).toEqual(Array(6).fill('granted'));
    });

    describe('with owners of which one has many requests', () => {
      const LIMIT = 40;
      let left: number;

      /** Answers a granted request at once, as a window that ends a minute after the opening. */
      async function serve(asked: Asked, openedAt: number): Promise<void> {
        const resetInMs = openedAt + MINUTE_MS - clock.now();
        driver.answer(asked, { limit: LIMIT, remaining: --left, resetInMs });
        await made.quiet();
      }

      const isGranted = ({ state }: Asked): boolean => state.kind === 'granted';

      test('keeps a fifth of a window for the others, and releases it evenly until the reset', async () => {
        left = LIMIT;
        const openedAt = clock.now();
        await serve(await ask({ owner: 'person' }), openedAt);
        const all: Asked[] = [];
        const flood = async (): Promise<void> => {
          const one = await ask({ owner: 'job' });
          all.push(one);
          if (isGranted(one)) await serve(one, openedAt);
        };
        for (let i = 0; i < 45; i++) await flood();
        expect(all.filter(isGranted)).toHaveLength(LIMIT - 1 - 7);
        expect(driver.ledger.snapshot()).toMatchObject([{ remaining: 7, kept: 7 }]);
        const person = await ask({ owner: 'person' });
        const fromReserve = { waitedFor: 'nothing', fromReserve: true };
        expect(person.state).toMatchObject({ kind: 'granted', grant: fromReserve });
        await serve(person, openedAt);
        // The person used the operation that would have been released first.
        await pass(14_999);
        expect(all.filter(isGranted)).toHaveLength(32);
        await pass(1);
        expect(all.filter(isGranted)).toHaveLength(33);
        expect(driver.grantOf(all[31] ?? person).waitedFor).toBe('nothing');
        expect(driver.grantOf(all[32] ?? person)).toMatchObject({ waitedFor: 'reserve' });
        expect(driver.grantOf(all[32] ?? person).fromReserve).toBeUndefined();
        await serve(all[32] ?? person, openedAt);
        for (let i = 0; i < 5; i++) {
          await pass(7500);
          await serve(all[33 + i] ?? person, openedAt);
        }
        expect(left).toBe(0);
      });

      test('sheds by a forecast that counts what is kept as released until the reset', async () => {
        left = LIMIT;
        const openedAt = clock.now();
        await serve(await ask({ owner: 'person' }), openedAt);
        for (let i = 0; i < 32; i++) await serve(await ask({ owner: 'job' }), openedAt);
        const first = await ask({ owner: 'job', maxWaitMs: 8000 });
        const tooLate = await ask({ owner: 'job', maxWaitMs: 14_000 });
        expect(first.state.kind).toBe('waiting');
        expect(tooLate.state).toMatchObject({ code: 'wait-too-long', retryAfterMs: 15_000 });
        await pass(7500);
        expect(isGranted(first)).toBe(true);
        await serve(first, openedAt);
        const second = await ask({ owner: 'job', maxWaitMs: 8000 });
        await pass(7500);
        expect(isGranted(second)).toBe(true);
      });

      test('keeps nothing while one owner alone uses the bucket', async () => {
        left = LIMIT;
        const openedAt = clock.now();
        for (let i = 0; i < LIMIT; i++) await serve(await ask({ owner: 'job' }), openedAt);
        expect(left).toBe(0);
      });
    });

    describe('with a caller whose share is stated', () => {
      const LIMIT = 20;
      let left: number;
      let openedAt: number;

      async function start(reserves: Readonly<Record<string, number>>): Promise<void> {
        await made.ledger.close();
        const rules = Object.entries(reserves).map(([name, reserve]) => ({ name, reserve }));
        await open({ shares: statedShares(rules) });
        left = LIMIT;
        openedAt = clock.now();
      }

      /** Answers a granted request at once, as a window that ends a minute after the opening. */
      async function serve(asked: Asked, cost = 1): Promise<void> {
        const resetInMs = openedAt + MINUTE_MS - clock.now();
        left -= cost;
        driver.answer(asked, { limit: LIMIT, remaining: left, resetInMs });
        await made.quiet();
      }

      async function flood(count: number): Promise<Asked[]> {
        const all: Asked[] = [];
        for (let i = 0; i < count; i++) {
          const one = await ask({ owner: 'job', caller: 'job' });
          all.push(one);
          if (isGranted(one)) await serve(one);
        }
        return all;
      }

      const isGranted = ({ state }: Asked): boolean => state.kind === 'granted';
      const deploy = (more: object = {}): Promise<Asked> =>
        ask({ owner: 'deploy', caller: 'deploy', ...more });

      test('keeps it from an owner alone, until shortly before the reset', async () => {
        await start({ deploy: 0.2 });
        const all = await flood(LIMIT);
        expect(all.filter(isGranted)).toHaveLength(16);
        expect(driver.ledger.snapshot()).toMatchObject([{ remaining: 4, kept: 4 }]);
        await pass(53_999);
        expect(all.filter(isGranted)).toHaveLength(16);
        for (let i = 0; i < 4; i++) {
          await pass(i === 0 ? 1 : 1500);
          const released = all[16 + i];
          if (released === undefined) throw new Error('expected a request');
          expect(driver.grantOf(released)).toMatchObject({ waitedFor: 'reserve' });
          await serve(released);
        }
        expect(left).toBe(0);
      });

      test('grants it at once although others wait, and not more than it', async () => {
        await start({ deploy: 0.2 });
        const all = await flood(LIMIT);
        await pass(50_000);
        for (let i = 0; i < 4; i++) {
          const one = await deploy();
          const grant = { waitedFor: 'nothing', fromReserve: true };
          expect(one.state).toMatchObject({ kind: 'granted', grant });
          await serve(one);
        }
        const beyond = await deploy();
        expect(beyond.state.kind).toBe('waiting');
        expect(all.filter(isGranted)).toHaveLength(16);
        // The next window has it again.
        await pass(11_000);
        const canary = all.find((one, at) => at >= 16 && isGranted(one));
        left = LIMIT;
        openedAt = clock.now();
        if (canary !== undefined) await serve(canary);
        expect(canary).toBeDefined();
        expect(isGranted(beyond)).toBe(true);
      });

      test('keeps the shares of two callers from each other', async () => {
        await start({ deploy: 0.2, backup: 0.3 });
        await flood(LIMIT);
        expect(left).toBe(10);
        const backup = [];
        for (let i = 0; i < 7; i++) backup.push(await ask({ owner: 'backup', caller: 'backup' }));
        expect(kinds(backup)).toEqual([...Array(6).fill('granted'), 'waiting']);
        for (const one of backup.slice(0, 6)) await serve(one);
        expect(kinds([await deploy({ cost: 4 }), await deploy()])).toEqual(['granted', 'waiting']);
      });

      test('forecasts for others that it is kept, and for its caller that it is not', async () => {
        await start({ deploy: 0.2 });
        await flood(16);
        const other = await ask({ owner: 'job', caller: 'job', maxWaitMs: 30_000 });
        expect(other.state).toMatchObject({ code: 'wait-too-long', retryAfterMs: 54_000 });
        const patient = await ask({ owner: 'job', caller: 'job', maxWaitMs: 54_500 });
        expect(patient.state.kind).toBe('waiting');
        const granted = [];
        for (let i = 0; i < 4; i++) granted.push(await deploy({ maxWaitMs: 0 }));
        expect(granted.filter(isGranted)).toHaveLength(4);
      });

      test('lets a request through that costs more than all shares leave', async () => {
        await start({ deploy: 0.5 });
        const first = await ask({ owner: 'job', caller: 'job' });
        await serve(first);
        const large = await ask({ owner: 'job', caller: 'job', cost: 11 });
        expect(large.state.kind).toBe('granted');
        await serve(large, 11);
        expect((await ask({ owner: 'job', caller: 'job', cost: 10 })).state.kind).toBe('waiting');
      });

      test('serves its caller first where each operation returns by itself', async () => {
        await start({ deploy: 0.2 });
        const all: Asked[] = [];
        for (let i = 0; i < 60; i++) {
          const one = await ask({ owner: 'job', caller: 'job', maxWaitMs: 10 * MINUTE_MS });
          all.push(one);
          if (isGranted(one)) {
            driver.answer(one, { limit: LIMIT, remaining: --left, resetInMs: MINUTE_MS });
            await made.quiet();
          }
          await pass(3000);
          if (all.length > 30) break;
        }
        const waiting = all.filter((one) => !isGranted(one));
        for (let i = 0; i < 10; i++) waiting.push(await ask({ owner: 'job', caller: 'job' }));
        const [first, second] = [await deploy(), await deploy()];
        await pass(6000);
        expect(kinds([first, second])).toEqual(['granted', 'granted']);
      });
    });

    test('counts a grant as spent until it is known to be unsent', async () => {
      await opened(2, 1);
      const first = await ask();
      const second = await ask();
      expect(kinds([first, second])).toEqual(['granted', 'waiting']);
      driver.unsent(first);
      await made.quiet();
      expect(second.state.kind).toBe('granted');
    });

    test('counts a lost request as spent', async () => {
      await opened(2, 1);
      const first = await ask();
      driver.lost(first);
      const second = await ask();
      expect(second.state.kind).toBe('waiting');
      await pass(MINUTE_MS);
      expect(second.state.kind).toBe('granted');
    });

    test('counts a grant as spent after ten seconds without an answer, and still uses its late answer', async () => {
      await opened(3, 1);
      const slow = await ask();
      const waiting = await ask();
      expect(made.ledger.view('b')).toMatchObject({ remaining: 1, leases: 1 });
      await pass(11_000);
      expect(made.ledger.view('b')).toMatchObject({ remaining: 0, leases: 0 });
      driver.answer(slow, { limit: 3, remaining: 2, resetInMs: 45_000 });
      await made.quiet();
      expect(waiting.state.kind).toBe('granted');
    });

    test('grants nothing for as long as a 429 requires', async () => {
      await opened(10, 9);
      const throttled = await ask();
      driver.answer(throttled, { status: 429, remaining: 0, retryInMs: 5000, limit: 10 });
      const waiting = await ask();
      await pass(4999);
      expect(waiting.state.kind).toBe('waiting');
      await pass(1);
      expect(waiting.state.kind).toBe('granted');
    });

    test('makes only the one request wait when a 429 reports that budget is left', async () => {
      await opened(10, 9);
      const throttled = await ask();
      driver.answer(throttled, { status: 429, limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      const retry = driver.retry(throttled, clock.now() + 2000);
      const other = await ask();
      expect(kinds([retry, other])).toEqual(['waiting', 'granted']);
      await pass(2000);
      expect(retry.state.kind).toBe('granted');
    });

    test('gives a caller with few tickets its turn between those of one with many', async () => {
      await opened(3, 0);
      for (let i = 0; i < 6; i++) await ask({ caller: 'flood' });
      await ask({ caller: 'small' });
      await pass(MINUTE_MS);
      const [canary] = driver.granted;
      expect(canary).toBe('flood-2');
      await pass(2000);
      expect(driver.granted.indexOf('small-8')).toBeLessThanOrEqual(2);
    });

    test('serves one caller in the order of arrival, and its retry first', async () => {
      await opened(10, 1);
      const first = await ask();
      await pass(5);
      const later = [await ask(), await ask()];
      driver.answer(first, { status: 429, limit: 10, remaining: 0, retryInMs: 1000 });
      await made.quiet();
      const retry = driver.retry(first);
      await made.quiet();
      driver.granted.length = 0;
      await pass(1000);
      expect(driver.granted).toEqual([first.ticket.id]);
      driver.answer(retry, { limit: 10, remaining: 2, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(driver.granted).toEqual([first, ...later].map(({ ticket }) => ticket.id));
    });

    test('judges a retry by its place, before the tickets of its flow that arrived later', async () => {
      await opened(10, 1);
      const first = await ask({ maxWaitMs: 90_000 });
      await pass(1);
      const waiting: Asked[] = [];
      for (let i = 0; i < 15; i++) waiting.push(await ask({ maxWaitMs: 10 * MINUTE_MS }));
      driver.answer(first, { status: 429, limit: 10, remaining: 0, resetInMs: MINUTE_MS });
      await made.quiet();
      const retry = driver.retry(first);
      await made.quiet();
      expect(kinds([retry, ...waiting])).toEqual(Array.from({ length: 16 }, () => 'waiting'));
      await pass(MINUTE_MS + 100);
      expect(retry.state.kind).toBe('granted');
    });

    test('serves a high priority before a normal one, and starves no caller', async () => {
      await opened(30, 0);
      for (let i = 0; i < 3; i++) await ask({ priority: 'low', caller: 'slow' });
      for (let i = 0; i < 3; i++) await ask({ priority: 'normal', caller: 'usual' });
      for (let i = 0; i < 12; i++) await ask({ priority: 'high', caller: 'fast' });
      await pass(MINUTE_MS + 2000);
      const order = driver.granted.map((id) => id.split('-')[0]);
      expect(order.filter((caller) => caller === 'fast')).toHaveLength(12);
      expect(order.indexOf('usual')).toBeLessThan(4);
      expect(order.lastIndexOf('fast')).toBeLessThan(order.lastIndexOf('slow'));
      expect(order).toHaveLength(18);
    });

    test('sheds at once a ticket that cannot be served in time, and reports when to retry', async () => {
      await opened(2, 0);
      const hasty = await ask({ maxWaitMs: 30_000 });
      expect(hasty.state).toMatchObject({ kind: 'shed', code: 'wait-too-long' });
      if (hasty.state.kind !== 'shed') throw new Error('not shed');
      expect(hasty.state.retryAfterMs).toBeCloseTo(MINUTE_MS, -1);
      const patient = await ask({ maxWaitMs: 90_000 });
      expect(patient.state.kind).toBe('waiting');
    });

    test('sheds at the deadline a ticket for which there was no forecast', async () => {
      const first = await ask();
      const waiting = await ask({ maxWaitMs: 500 });
      await pass(499);
      expect(kinds([first, waiting])).toEqual(['granted', 'waiting']);
      await pass(1);
      expect(waiting.state).toMatchObject({ kind: 'shed', code: 'wait-too-long' });
    });

    test('sheds the last ticket of the longest flow when the queue is full', async () => {
      await opened(100, 0);
      const flood = [];
      for (let i = 0; i < MAX_QUEUE; i++) flood.push(await ask({ caller: 'flood' }));
      const newcomer = await ask({ caller: 'newcomer' });
      expect(newcomer.state.kind).toBe('waiting');
      expect(flood.at(-1)?.state).toMatchObject({ kind: 'shed', code: 'queue-full' });
      expect(kinds(flood.slice(0, -1))).toEqual(Array(MAX_QUEUE - 1).fill('waiting'));
      expect(made.ledger.view('b')?.waiting).toBe(MAX_QUEUE);
    });

    test('forgets a ticket whose caller has gone, and gives its turn to the next', async () => {
      await opened(1, 0);
      const [gone, next] = [await ask(), await ask()];
      gone.leave();
      await made.quiet();
      expect(gone.state.kind).toBe('cancelled');
      expect(made.ledger.view('b')?.waiting).toBe(1);
      await pass(MINUTE_MS);
      expect(next.state.kind).toBe('granted');
    });

    test('grants nothing without a free socket, and continues as soon as one is free', async () => {
      await made.ledger.close();
      await open({ sockets: 2 });
      await opened(10, 9);
      const [first, second, third] = [await ask(), await ask(), await ask()];
      expect(kinds([first, second, third])).toEqual(['granted', 'granted', 'waiting']);
      driver.answer(first, { limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(third.state.kind).toBe('granted');
    });

    test('shares sockets between buckets that wait for one', async () => {
      await made.ledger.close();
      await open({ sockets: 1 });
      await opened(10, 9, 'a');
      await opened(10, 9, 'b');
      const holder = await ask({ bucket: 'a' });
      const inA = [await ask({ bucket: 'a' }), await ask({ bucket: 'a' })];
      const inB = await ask({ bucket: 'b' });
      driver.answer(holder, { limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      const second = [...inA, inB].find(({ state }) => state.kind === 'granted');
      if (second === undefined) throw new Error('nobody got the free socket');
      driver.answer(second, { limit: 10, remaining: 7, resetInMs: MINUTE_MS });
      await made.quiet();
      expect([...inA, inB].filter(({ state }) => state.kind === 'granted')).toHaveLength(2);
      expect(inB.state.kind).toBe('granted');
    });

    test('reports whether a grant had to wait for the budget', async () => {
      await opened(10, 1);
      const [atOnce, later] = [await ask(), await ask()];
      driver.unsent(atOnce);
      await made.quiet();
      expect(driver.grantOf(atOnce).waitedFor).toBe('nothing');
      expect(driver.grantOf(later).waitedFor).toBe('budget');
    });

    test('reports whether a grant had to wait for a socket alone', async () => {
      await made.ledger.close();
      await open({ sockets: 1 });
      await opened(10, 9);
      const [holder, second, third] = [await ask(), await ask(), await ask()];
      for (const one of [holder, second]) {
        driver.answer(one, { limit: 10, remaining: 8, resetInMs: MINUTE_MS });
        await made.quiet();
      }
      expect(driver.grantOf(holder).waitedFor).toBe('nothing');
      expect(driver.grantOf(second).waitedFor).toBe('socket');
      expect(driver.grantOf(third).waitedFor).toBe('socket');
    });

    test('reports the wait for the budget for all grants of a reset, up to the last socket', async () => {
      await made.ledger.close();
      await open({ sockets: 2 });
      await opened(10, 0);
      const waiting = [await ask(), await ask(), await ask(), await ask()];
      await pass(MINUTE_MS);
      const waitedFor: string[] = [];
      for (const [i, one] of waiting.entries()) {
        waitedFor.push(driver.grantOf(one).waitedFor);
        driver.answer(one, { limit: 10, remaining: 9 - i, resetInMs: MINUTE_MS });
        await made.quiet();
      }
      // The canary; the grant of the other socket at its answer; those that wait for these two to end.
      expect(waitedFor).toEqual(['budget', 'budget', 'socket', 'socket']);
    });

    test('reports a pause as a wait for the budget, as its end grants many at once too', async () => {
      await opened(10, 9);
      made.ledger.pause('b');
      await made.quiet();
      const held = await ask();
      await pass(3000);
      made.ledger.resume('b');
      await made.quiet();
      expect(driver.grantOf(held).waitedFor).toBe('budget');
    });

    test('forgets the longest unused bucket when there are too many', async () => {
      await made.ledger.close();
      await open({ maxBuckets: 3 });
      for (const bucket of ['a', 'b', 'c', 'a', 'd']) {
        await pass(NEW_MS);
        driver.unsent(await ask({ bucket }));
        await pass(100);
      }
      const ids = made.ledger.snapshot().map(({ id }) => id);
      expect(ids.toSorted()).toEqual(['a', 'c', 'd']);
    });

    test('refuses a new bucket while all are in use, and serves those that exist', async () => {
      await made.ledger.close();
      await open({ maxBuckets: 3 });
      const [held] = [await ask({ bucket: 'a' }), await ask({ bucket: 'b' })];
      await ask({ bucket: 'c' });
      await pass(NEW_MS);
      const refused = await ask({ bucket: 'd', owner: 'another' });
      expect(refused.state).toMatchObject({ kind: 'shed', code: 'too-many-buckets' });
      if (refused.state.kind !== 'shed') throw new Error('not shed');
      expect(refused.state.retryAfterMs).toBeGreaterThan(0);
      expect(made.ledger.snapshot()).toHaveLength(3);
      expect((await ask({ bucket: 'b' })).state.kind).not.toBe('shed');
      driver.unsent(held);
      await pass(100);
      expect((await ask({ bucket: 'd', owner: 'another' })).state.kind).toBe('granted');
      expect(made.ledger.view('a')).toBeUndefined();
    });

    test('refuses a new bucket to an owner that uses too many, and to no other', async () => {
      await made.ledger.close();
      await open({ maxBuckets: 20, maxBucketsPerOwner: 2 });
      const [held] = [await ask({ bucket: 'a' }), await ask({ bucket: 'b' })];
      await pass(NEW_MS);
      const refused = await ask({ bucket: 'c' });
      expect(refused.state).toMatchObject({ kind: 'shed', code: 'too-many-buckets-of-owner' });
      if (refused.state.kind !== 'shed') throw new Error('not shed');
      expect(refused.state.retryAfterMs).toBeGreaterThan(0);
      expect((await ask({ bucket: 'c', owner: 'another' })).state.kind).toBe('granted');
      driver.unsent(held);
      await pass(100);
      expect((await ask({ bucket: 'd' })).state.kind).toBe('granted');
    });

    test('can forget a bucket in whatever way its use ended', async () => {
      const ends: Record<string, () => Promise<unknown>> = {
        answered: async () => driver.answer(await ask({ bucket: 'answered' })),
        metered: () => opened(10, 9, 'metered'),
        unsent: async () => driver.unsent(await ask({ bucket: 'unsent' })),
        lost: async () => driver.lost(await ask({ bucket: 'lost' })),
        late: async () => {
          const first = await ask({ bucket: 'late' });
          await pass(11_000);
          driver.answer(first, { limit: 10, remaining: 9, resetInMs: MINUTE_MS });
        },
        gone: async () => {
          const first = await ask({ bucket: 'gone' });
          const waiting = await ask({ bucket: 'gone' });
          driver.unsent(first);
          waiting.leave();
          await made.quiet();
          if (waiting.state.kind === 'granted') driver.unsent(waiting);
        },
        goneLast: async () => {
          const first = await ask({ bucket: 'goneLast' });
          const waiting = await ask({ bucket: 'goneLast' });
          driver.answer(first, { status: 429, retryInMs: MINUTE_MS });
          await pass(100);
          waiting.leave();
        },
        overdue: async () => {
          await opened(10, 0, 'overdue');
          made.ledger.pause('overdue');
          await ask({ bucket: 'overdue', maxWaitMs: 500 });
          await pass(1000);
          made.ledger.resume('overdue');
        },
        shedAtOnce: async () => {
          await opened(10, 0, 'shedAtOnce');
          await ask({ bucket: 'shedAtOnce', maxWaitMs: 10 });
        },
        parked: async () => {
          await opened(100, 90, 'parked');
          const throttled = await ask({ bucket: 'parked' });
          driver.answer(throttled, { status: 429, limit: 100, remaining: 80 });
          driver.retry(throttled, clock.now() + 30_000).leave();
        },
      };
      for (const [bucket, use] of Object.entries(ends)) {
        await made.ledger.close();
        await open({ maxBuckets: 1 });
        await use();
        await pass(NEW_MS);
        expect(made.ledger.view(bucket)).toBeDefined();
        expect([bucket, (await ask({ bucket: 'next' })).state.kind]).toEqual([bucket, 'granted']);
        expect(made.ledger.view(bucket)).toBeUndefined();
      }
    });

    test('refuses to settle a grant twice', async () => {
      const asked = await ask();
      driver.unsent(asked);
      expect(() => driver.unsent(asked)).toThrow(/settled twice/);
    });

    test('starts from the configured limit where the API reports none', async () => {
      await made.ledger.close();
      await open({ configuredLimit: { limit: 2, periodMs: 1000 } });
      const asked = [await ask(), await ask(), await ask()];
      expect(kinds(asked)).toEqual(['granted', 'granted', 'waiting']);
      for (const one of asked.slice(0, 2)) driver.answer(one);
      await pass(1001);
      expect(asked[2]?.state.kind).toBe('granted');
    });

    test('reports its numbers, and the waiting tickets by caller', async () => {
      await opened(10, 0);
      await ask({ caller: 'x' });
      await ask({ caller: 'x' });
      await ask({ caller: 'y' });
      expect(made.ledger.view('b')).toMatchObject({ limit: 10, remaining: 0, waiting: 3 });
      expect(made.ledger.view('b')?.resetInMs).toBeCloseTo(MINUTE_MS, -1);
      expect(made.ledger.view('unknown')).toBeUndefined();
      await pass(1500);
      const [bucket] = made.ledger.snapshot();
      expect(bucket).toMatchObject({ id: 'b', class: 'read', waitingHereByCaller: { x: 2, y: 1 } });
      expect(bucket?.oldestWaitMs).toBeGreaterThanOrEqual(1500);
      expect(made.ledger.etaMs('b')).toBe(bucket?.etaMs);
      expect(made.ledger.etaMs('b')).toBeGreaterThan(0);
      expect(made.ledger.etaMs('unknown')).toBeUndefined();
    });

    test('counts parked tickets for the bound of the queue', async () => {
      await opened(100, 90);
      const retries = [];
      for (let i = 0; i < MAX_QUEUE + 5; i++) {
        const throttled = await ask();
        driver.answer(throttled, { status: 429, limit: 100, remaining: 80, resetInMs: MINUTE_MS });
        await made.quiet();
        retries.push(driver.retry(throttled, clock.now() + 30_000));
      }
      await made.quiet();
      expect(kinds(retries.slice(0, MAX_QUEUE))).toEqual(Array(MAX_QUEUE).fill('waiting'));
      expect(retries.at(-1)?.state).toMatchObject({ kind: 'shed', code: 'queue-full' });
      expect(kinds(retries.slice(MAX_QUEUE))).toEqual(Array(5).fill('shed'));
      expect(made.ledger.view('b')?.waiting).toBe(MAX_QUEUE);
    });

    test('starts no retry after the deadline', async () => {
      await opened(10, 9);
      const throttled = await ask({ maxWaitMs: 5000 });
      driver.answer(throttled, { status: 429, limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await pass(5000);
      const late = driver.retry(throttled);
      await made.quiet();
      expect(late.state).toMatchObject({ kind: 'shed', code: 'wait-too-long' });
    });

    test('sets no timer for a bucket in which no ticket waits any more', async () => {
      const first = await ask();
      const waiting = await ask();
      waiting.leave();
      await pass(2000);
      expect(kinds([first, waiting])).toEqual(['granted', 'cancelled']);
      expect(clock.pending).toBe(0);
    });

    test('gives no turn at a socket to a bucket whose caller has gone', async () => {
      await made.ledger.close();
      await open({ sockets: 1 });
      for (const bucket of ['a', 'b', 'c']) await opened(10, 9, bucket);
      const holder = await ask({ bucket: 'a' });
      const gone = await ask({ bucket: 'b' });
      const next = await ask({ bucket: 'c' });
      gone.leave();
      await made.quiet();
      driver.answer(holder, { limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(kinds([gone, next])).toEqual(['cancelled', 'granted']);
    });

    test('passes a free socket on to a bucket that can use it, past those without budget', async () => {
      await made.ledger.close();
      await open({ sockets: 1 });
      await opened(10, 9, 'a');
      for (const bucket of ['empty-1', 'empty-2', 'empty-3']) await opened(10, 0, bucket);
      await opened(10, 9, 'b');
      const holder = await ask({ bucket: 'a' });
      const without = [];
      for (let i = 1; i <= 3; i++) without.push(await ask({ bucket: `empty-${i}` }));
      const next = await ask({ bucket: 'b' });
      driver.answer(holder, { limit: 10, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(kinds([...without, next])).toEqual(['waiting', 'waiting', 'waiting', 'granted']);
    });

    test('grants at once to a ticket that may not wait at all', async () => {
      await opened(10, 1);
      const [first, second] = [await ask({ maxWaitMs: 0 }), await ask({ maxWaitMs: 0 })];
      expect(kinds([first, second])).toEqual(['granted', 'shed']);
    });

    test('grants nothing of a paused bucket until it is resumed', async () => {
      await opened(10, 9);
      expect(made.ledger.pause('unknown')).toBe(false);
      expect(made.ledger.pause('b')).toBe(true);
      await made.quiet();
      const held = await ask();
      await pass(5000);
      expect(held.state.kind).toBe('waiting');
      expect(made.ledger.view('b')).toMatchObject({ waiting: 1, paused: true });
      expect(made.ledger.resume('b')).toBe(true);
      await made.quiet();
      expect(held.state.kind).toBe('granted');
      expect(made.ledger.view('b')).not.toHaveProperty('paused');
    });

    test('says of what a paused bucket sheds that it is paused', async () => {
      await opened(10, 9);
      made.ledger.pause('b');
      await made.quiet();
      const late = await ask({ maxWaitMs: 5000 });
      await pass(5000);
      expect(late.state).toMatchObject({ kind: 'shed', code: 'wait-too-long', paused: true });
      const waiting: Asked[] = [];
      for (let i = 0; i <= MAX_QUEUE; i++) waiting.push(await ask());
      expect(waiting.filter(({ state }) => state.kind === 'shed')).toHaveLength(1);
      const full = waiting.find(({ state }) => state.kind === 'shed');
      expect(full?.state).toMatchObject({ code: 'queue-full', paused: true });
    });

    test('keeps tickets that can be served while it drains, and sheds the rest', async () => {
      await opened(2, 0);
      const waiting = [await ask(), await ask(), await ask()];
      made.ledger.drain(clock.now() + MINUTE_MS + 5000);
      await made.quiet();
      expect(kinds(waiting)).toEqual(['waiting', 'waiting', 'shed']);
      expect(waiting[2]?.state).toMatchObject({ code: 'draining' });
      await pass(MINUTE_MS + 2000);
      expect(kinds(waiting)).toEqual(['granted', 'granted', 'shed']);
    });

    test('grants what the operations of a request leave, and no smaller one overtakes', async () => {
      await opened(10, 9);
      const asked = [await ask({ cost: 4 }), await ask({ cost: 4 }), await ask({ cost: 4 })];
      const small = await ask();
      expect(kinds([...asked, small])).toEqual(['granted', 'granted', 'waiting', 'waiting']);
      await pass(MINUTE_MS + 1000);
      expect(asked[2]?.state.kind).toBe('granted');
    });

    test('gives back the operations of a request that was not sent', async () => {
      await opened(10, 9);
      const [first, second] = [await ask({ cost: 9 }), await ask({ cost: 9 })];
      expect(kinds([first, second])).toEqual(['granted', 'waiting']);
      driver.unsent(first);
      await made.quiet();
      expect(second.state.kind).toBe('granted');
    });

    test('counts the operations of an answered request when they return', async () => {
      await opened(10, 9);
      const asked = await ask({ cost: 7 });
      driver.answer(asked, { limit: 10, remaining: 2, resetInMs: MINUTE_MS });
      await pass(1000);
      expect(made.ledger.view('b')).toMatchObject({ limit: 10, remaining: 2, leases: 0 });
      expect(kinds([await ask({ cost: 2 }), await ask()])).toEqual(['granted', 'waiting']);
    });

    test('sheds a request that costs more than the limit, once the limit is known', async () => {
      const first = await ask();
      const early = await ask({ cost: 11 });
      expect(early.state.kind).toBe('waiting');
      driver.answer(first, { limit: 10, remaining: 9, resetInMs: MINUTE_MS });
      await made.quiet();
      const late = await ask({ cost: 11 });
      for (const { state } of [early, late]) {
        expect(state).toMatchObject({ kind: 'shed', code: 'cost-too-high', limit: 10 });
      }
      expect((await ask({ cost: 9 })).state.kind).toBe('granted');
    });

    test('sheds a request that costs more than the limit although nothing remains', async () => {
      const first = await ask();
      const costly = await ask({ cost: 11 });
      const next = await ask({ cost: 2 });
      driver.answer(first, { limit: 10, remaining: 0, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(costly.state).toMatchObject({ kind: 'shed', code: 'cost-too-high' });
      expect(next.state.kind).toBe('waiting');
    });

    test('sheds a request that costs more than the limit from a paused bucket', async () => {
      const first = await ask();
      const costly = await ask({ cost: 11 });
      const next = await ask({ cost: 2 });
      made.ledger.pause('b');
      driver.answer(first, { limit: 10, remaining: 9, resetInMs: MINUTE_MS });
      await made.quiet();
      expect(costly.state).toMatchObject({ kind: 'shed', code: 'cost-too-high' });
      expect(next.state.kind).toBe('waiting');
    });

    test('forecasts by operations, not by requests', async () => {
      await opened(10, 0);
      for (let i = 0; i < 3; i++) await ask({ cost: 5 });
      // The fourth needs the second half of the second window.
      const late = await ask({ cost: 5, maxWaitMs: 90_000 });
      expect(late.state).toMatchObject({ kind: 'shed', code: 'wait-too-long' });
      expect((await ask({ cost: 5, maxWaitMs: 120_000 })).state.kind).toBe('waiting');
    });

    test('learns what a request costs from two single ones, and bursts by that', async () => {
      const first = await ask();
      const others = Array.from({ length: 30 }, () => driver.ask());
      await made.quiet();
      driver.answer(first, { limit: 100, remaining: 95, resetInMs: MINUTE_MS });
      await made.quiet();
      const canary = others.filter(({ state }) => state.kind === 'granted');
      expect(canary).toHaveLength(1);
      for (const one of canary) {
        driver.answer(one, { limit: 100, remaining: 90, resetInMs: MINUTE_MS });
      }
      await made.quiet();
      expect(others.filter(({ state }) => state.kind === 'granted')).toHaveLength(1 + 18);
    });

    test('does not count stated costs by the learned cost of other requests', async () => {
      for (const remaining of [95, 90]) {
        driver.answer(await ask(), { limit: 100, remaining, resetInMs: MINUTE_MS });
        await made.quiet();
      }
      driver.answer(await ask({ cost: 90 }), { limit: 100, remaining: 0, resetInMs: MINUTE_MS });
      await made.quiet();
      const asked: Asked[] = [];
      for (let i = 0; i < 4; i++) asked.push(await ask({ cost: 20, maxWaitMs: 90_000 }));
      expect(kinds(asked)).toEqual(['waiting', 'waiting', 'waiting', 'waiting']);
    });

    test('sheds what waits in vain as soon as an answer tells when the budget refills', async () => {
      const first = await ask();
      const waiting: Asked[] = [];
      for (let i = 0; i < 12; i++) waiting.push(await ask({ maxWaitMs: i < 6 ? 10_000 : 90_000 }));
      driver.answer(first, { limit: 10, remaining: 3, resetInMs: MINUTE_MS });
      await made.quiet();
      await made.quiet();
      const served = ['granted', 'granted', 'granted'];
      const shed = ['shed', 'shed', 'shed'];
      expect(kinds(waiting.slice(0, 6))).toEqual([...served, ...shed]);
      expect(kinds(waiting.slice(6))).toEqual(Array.from({ length: 6 }, () => 'waiting'));
      const [, , , refused] = waiting;
      if (refused?.state.kind !== 'shed') throw new Error('expected a shed ticket');
      expect(refused.state.code).toBe('wait-too-long');
      expect(refused.state.retryAfterMs).toBeGreaterThan(50_000);
    });

    test('sheds all waiting tickets when it is closed', async () => {
      await opened(2, 0);
      const waiting = [await ask(), await ask()];
      await made.ledger.close();
      await made.quiet();
      expect(kinds(waiting)).toEqual(['shed', 'shed']);
    });
    test('keeps nothing for callers that are gone, also in the forecast for a caller alone', async () => {
      await open({ sockets: 6 });
      await opened(9, 9);
      // One uses much and waits, and one that is known does not.
      const modest = await ask({ owner: 'modest' });
      driver.answer(modest, { limit: 9, remaining: 8, resetInMs: MINUTE_MS });
      const busy = [];
      for (let i = 0; i < 8; i++) busy.push(await ask({ owner: 'busy', maxWaitMs: MINUTE_MS / 2 }));
      let remaining = 8;
      for (const one of busy) {
        if (one.state.kind !== 'granted') continue;
        driver.answer(one, { limit: 9, remaining: --remaining, resetInMs: MINUTE_MS });
        await made.quiet();
      }
      await pass(10 * MINUTE_MS);
      for (const one of busy.slice(6)) if (one.state.kind === 'granted') driver.unsent(one);
      const first = await ask({ owner: 'alone' });
      driver.answer(first, { limit: 9, remaining: 8, resetInMs: MINUTE_MS });
      await made.quiet();
      const alone = [];
      for (let i = 0; i < 7; i++) alone.push(await ask({ owner: 'alone', maxWaitMs: 1000 }));
      expect(kinds(alone)).toEqual([...Array(6).fill('granted'), 'waiting']);
    });
  });
}
