import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Outcome, Ticket } from '../../src/ledger/ledger.ts';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakePermits, LedgerDriver, type ApiReport, type Asked } from '../support/ledger-driver.ts';
import type { LedgerParts, LedgerUnderTest } from './ledger-tests.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const BOTH = { bucket: 'day', others: ['minute'] } as const;

/** The contract of every ledger for requests that spend from several buckets. */
export function drawsLedgerTests(
  name: string,
  make: (parts: LedgerParts) => Promise<LedgerUnderTest> | LedgerUnderTest,
): void {
  describe(`the ${name} ledger, for a request of several buckets,`, () => {
    let clock: FakeClock;
    let socketPermits: FakePermits;
    let sockets: number;
    let made: LedgerUnderTest;
    let ledger: DrawsLedger;
    let driver: LedgerDriver;
    let all: Asked[];

    async function open(options: { sockets?: number; maxQueue?: number } = {}): Promise<void> {
      ({ sockets = 100 } = options);
      clock = new FakeClock();
      socketPermits = new FakePermits(sockets);
      all = [];
      made = await make({ clock, socketPermits, maxQueue: options.maxQueue ?? 20 });
      ledger = new DrawsLedger({ ledger: made.ledger, clock, socketPermits });
      driver = new LedgerDriver(ledger, clock, socketPermits);
    }

    function pass(ms: number): Promise<void> {
      return clock.pass(ms, () => made.quiet());
    }

    async function ask(options: Parameters<LedgerDriver['ask']>[0] = {}): Promise<Asked> {
      const asked = driver.ask(options);
      all.push(asked);
      await made.quiet();
      return asked;
    }

    /** Opens buckets: an answer reports what remains of 100 in each, and a reset in `resetInMs`. */
    async function opened(reports: Readonly<Record<string, ApiReport>>): Promise<void> {
      for (const [bucket, report] of Object.entries(reports)) {
        const first = await ask({ bucket, caller: 'opener' });
        driver.answer(first, { limit: 100, resetInMs: MINUTE_MS, ...report });
        all.pop();
        await made.quiet();
      }
      driver.granted.length = 0;
    }

    function kinds(...some: readonly Asked[]): string[] {
      return some.map(({ state }) => state.kind);
    }

    /** How many leases each bucket has. */
    function leases(...ids: readonly string[]): (number | undefined)[] {
      return ids.map((id) => made.ledger.view(id)?.leases);
    }

    beforeEach(() => open());

    // However a request ends, it leaves nothing behind.
    afterEach(async () => {
      for (const one of all) if (one.state.kind === 'waiting') one.leave();
      await made.quiet();
      for (const one of all) {
        if (one.state.kind !== 'granted') continue;
        try {
          driver.unsent(one);
        } catch {
          // The test settled it.
        }
      }
      for (const { id } of ledger.snapshot()) ledger.resume(id);
      await pass(1000);
      expect(ledger.snapshot().map((bucket) => [bucket.leases, bucket.waiting])).toEqual(
        ledger.snapshot().map(() => [0, 0]),
      );
      expect(socketPermits.free).toBe(sockets);
      await made.ledger.close();
      expect(clock.pending).toBe(0);
    });

    test('spends from both', async () => {
      await opened({ day: { remaining: 50, resetInMs: HOUR_MS }, minute: { remaining: 5 } });
      const asked = await ask(BOTH);
      expect(asked.state.kind).toBe('granted');
      expect(leases('day', 'minute')).toEqual([1, 1]);
      driver.answer(
        asked,
        { limit: 100, remaining: 49, resetInMs: HOUR_MS },
        { limit: 100, remaining: 4, resetInMs: MINUTE_MS },
      );
      await pass(1000);
      expect(made.ledger.view('day')).toMatchObject({ remaining: 49 });
      expect(made.ledger.view('minute')).toMatchObject({ remaining: 4 });
    });

    test('refuses outcomes for another number of buckets, and can then be settled', async () => {
      await opened({ day: { remaining: 50 }, minute: { remaining: 5 } });
      const asked = await ask(BOTH);
      const unsent: Outcome = { kind: 'unsent' };
      const settle = (outcomes: Outcome[]) => ledger.settle(driver.grantOf(asked), outcomes);
      expect(() => settle([unsent])).toThrow('an outcome for each of 2 buckets');
      settle([unsent, unsent]);
      expect(() => settle([unsent, unsent])).toThrow('settled twice');
      socketPermits.release();
    });

    describe('which waits', () => {
      test('for the first, is granted at its refill', async () => {
        await opened({ day: { remaining: 0 }, minute: { remaining: 50, resetInMs: HOUR_MS } });
        const asked = await ask(BOTH);
        expect(leases('day', 'minute')).toEqual([0, 0]);
        await pass(MINUTE_MS - 1);
        expect(asked.state.kind).toBe('waiting');
        await pass(1);
        expect(asked.state).toMatchObject({
          kind: 'granted',
          grant: { longestWaitAt: { id: 'day' } },
        });
      });

      test('for the second, is granted at its refill, and holds the first beyond a lease', async () => {
        await opened({ day: { remaining: 50, resetInMs: HOUR_MS }, minute: { remaining: 0 } });
        const asked = await ask(BOTH);
        await pass(MINUTE_MS / 2);
        expect(asked.state.kind).toBe('waiting');
        expect(leases('day', 'minute')).toEqual([1, 0]);
        await pass(MINUTE_MS / 2);
        expect(asked.state).toMatchObject({
          kind: 'granted',
          grant: { longestWaitAt: { id: 'minute' } },
        });
        driver.unsent(asked);
        await pass(1000);
        expect(made.ledger.view('day')).toMatchObject({ remaining: 50, leases: 0 });
      });

      test('for one after the other, keeps what it holds however many follow', async () => {
        const names = ['a', 'b', 'c', 'd', 'e'];
        await opened(
          Object.fromEntries(names.map((id) => [id, { remaining: 9, resetInMs: HOUR_MS }])),
        );
        const later = names.slice(1);
        for (const id of later) ledger.pause(id);
        await made.quiet();
        const asked = await ask({ bucket: 'a', others: later });
        for (const [i, id] of later.entries()) {
          await pass(4900);
          expect(leases(...names)).toEqual(names.map((_, at) => (at <= i ? 1 : 0)));
          ledger.resume(id);
          await made.quiet();
        }
        await pass(0);
        expect(asked.state.kind).toBe('granted');
        // What is held that long has not been counted as lost.
        expect(leases(...names)).toEqual([1, 1, 1, 1, 1]);
        driver.unsent(asked);
        await pass(1000);
        expect(names.map((id) => made.ledger.view(id)?.remaining)).toEqual([9, 9, 9, 9, 9]);
      });

      test('has time for its answer when it is granted', async () => {
        await opened({
          day: { remaining: 50, resetInMs: HOUR_MS },
          minute: { remaining: 50, resetInMs: HOUR_MS },
        });
        ledger.pause('minute');
        await made.quiet();
        const asked = await ask(BOTH);
        await pass(9800);
        ledger.resume('minute');
        await pass(9000);
        expect(asked.state.kind).toBe('granted');
        expect(made.ledger.view('day')).toMatchObject({ remaining: 50, leases: 1 });
      });

      test('opens the first with its answer, however long it held it', async () => {
        await opened({ minute: { remaining: 50 } });
        ledger.pause('minute');
        await made.quiet();
        const asked = await ask(BOTH);
        await pass(8000);
        ledger.resume('minute');
        await pass(0);
        driver.answer(
          asked,
          { limit: 100, remaining: 99, resetInMs: HOUR_MS },
          { limit: 100, remaining: 49, resetInMs: MINUTE_MS },
        );
        await pass(100);
        expect(made.ledger.view('day')).toMatchObject({ limit: 100, remaining: 99, leases: 0 });
      });

      test('reports no bucket as the one that kept it if it had to wait for none', async () => {
        await opened({ day: { remaining: 50 }, minute: { remaining: 50 } });
        const asked = await ask(BOTH);
        await pass(100);
        expect(driver.grantOf(asked)).toMatchObject({
          waitedFor: 'nothing',
          longestWaitAt: undefined,
        });
      });
    });

    describe('which is shed', () => {
      test('at once by the second, holds nothing', async () => {
        await opened({ day: { remaining: 50, resetInMs: HOUR_MS }, minute: { remaining: 0 } });
        const asked = await ask({ ...BOTH, maxWaitMs: 30_000 });
        expect(asked.state).toMatchObject({
          kind: 'shed',
          code: 'wait-too-long',
          retryAfterMs: MINUTE_MS,
          bucket: { id: 'minute' },
        });
        await pass(1000);
        expect(leases('day', 'minute')).toEqual([0, 0]);
      });

      test('by several, has the latest of their times', async () => {
        await opened({ day: { remaining: 5 }, minute: { remaining: 0 }, last: { remaining: 5 } });
        const blocked = await ask({ bucket: 'last' });
        driver.answer(blocked, { status: 429, limit: 100, remaining: 0, retryInMs: HOUR_MS });
        await made.quiet();
        const ways = [
          { bucket: 'minute', others: ['last'] },
          { bucket: 'day', others: ['minute', 'last'] },
          { bucket: 'last', others: ['minute'] },
        ];
        for (const way of ways) {
          const asked = await ask({ ...way, maxWaitMs: 30_000 });
          expect(asked.state).toMatchObject({
            kind: 'shed',
            code: 'wait-too-long',
            retryAfterMs: HOUR_MS,
            bucket: { id: 'last' },
          });
        }
      });

      test('as it costs more than the second allows, hears that and not a time', async () => {
        await opened({ day: { remaining: 0 }, minute: { remaining: 9, limit: 10 } });
        for (const maxWaitMs of [30_000, 120_000]) {
          const asked = await ask({ bucket: 'day', others: [['minute', 11]], maxWaitMs });
          expect(asked.state).toMatchObject({
            kind: 'shed',
            code: 'cost-too-high',
            bucket: { id: 'minute' },
          });
        }
      });

      test('at its deadline, wherever it waits, holds nothing', async () => {
        await opened({ day: { remaining: 5 }, minute: { remaining: 5 } });
        for (const id of ['day', 'minute']) {
          ledger.pause(id);
          await made.quiet();
          const asked = await ask({ ...BOTH, maxWaitMs: 7000 });
          await pass(6999);
          expect(asked.state.kind).toBe('waiting');
          await pass(1);
          expect(asked.state).toMatchObject({ code: 'wait-too-long', bucket: { id } });
          ledger.resume(id);
          await pass(1000);
          expect(leases('day', 'minute')).toEqual([0, 0]);
        }
      });

      test('by a full queue of the second, returns the first', async () => {
        await made.ledger.close();
        await open({ maxQueue: 2 });
        await opened({ day: { remaining: 50, resetInMs: HOUR_MS }, minute: { remaining: 0 } });
        const asked = [await ask(BOTH), await ask(BOTH), await ask(BOTH)];
        expect(kinds(...asked)).toEqual(['waiting', 'waiting', 'shed']);
        expect(asked[2]?.state).toMatchObject({ code: 'queue-full', bucket: { id: 'minute' } });
        await pass(1000);
        expect(leases('day', 'minute')).toEqual([2, 0]);
      });

      test('while the replica drains, wherever it waits, holds nothing', async () => {
        await opened({
          day: { remaining: 50, resetInMs: HOUR_MS },
          hour: { remaining: 0, resetInMs: HOUR_MS },
          minute: { remaining: 0 },
        });
        const atMinute = await ask(BOTH);
        const atHour = await ask({ bucket: 'hour', others: ['minute'], maxWaitMs: 2 * HOUR_MS });
        const late = await ask({ bucket: 'day', others: ['hour'], maxWaitMs: 2 * HOUR_MS });
        ledger.drain(clock.now() + MINUTE_MS + 5000);
        await made.quiet();
        expect(kinds(atMinute, atHour, late)).toEqual(['waiting', 'shed', 'shed']);
        expect(atHour.state).toMatchObject({ code: 'draining' });
        await pass(1000);
        expect(leases('day', 'hour', 'minute')).toEqual([1, 0, 0]);
        await pass(MINUTE_MS);
        expect(atMinute.state.kind).toBe('granted');
      });

      test('when the ledger is closed, returns the first', async () => {
        await opened({ day: { remaining: 50, resetInMs: HOUR_MS }, minute: { remaining: 0 } });
        const asked = await ask(BOTH);
        await ledger.close();
        await made.quiet();
        expect(asked.state.kind).toBe('shed');
        await open();
      });
    });

    test('returns what it holds when its caller goes, wherever it waits', async () => {
      await opened({
        day: { remaining: 5, resetInMs: HOUR_MS },
        hour: { remaining: 5, resetInMs: HOUR_MS },
        minute: { remaining: 0 },
      });
      for (const others of [['hour', 'minute'], ['minute', 'hour'], ['minute']]) {
        const asked = await ask({ bucket: 'day', others });
        asked.leave();
        await pass(1000);
        expect(asked.state.kind).toBe('cancelled');
        expect(leases('day', 'hour', 'minute')).toEqual([0, 0, 0]);
      }
    });

    test('returns what it holds when its caller goes as a bucket grants', async () => {
      await opened({
        day: { remaining: 5 },
        minute: { remaining: 5 },
        last: { remaining: 5 },
      });
      ledger.pause('minute');
      await made.quiet();
      const asked = await ask({ bucket: 'day', others: ['minute', 'last'] });
      ledger.resume('minute');
      asked.leave();
      await pass(1000);
      expect(asked.state.kind).toBe('cancelled');
      expect(leases('day', 'minute', 'last')).toEqual([0, 0, 0]);
    });

    test('waits while either is paused', async () => {
      await opened({ day: { remaining: 5 }, minute: { remaining: 5 } });
      for (const id of ['day', 'minute']) {
        ledger.pause(id);
        await made.quiet();
        const asked = await ask(BOTH);
        await pass(5000);
        expect(asked.state.kind).toBe('waiting');
        ledger.resume(id);
        await pass(0);
        expect(asked.state).toMatchObject({ kind: 'granted', grant: { longestWaitAt: { id } } });
        driver.unsent(asked);
        await made.quiet();
      }
    });

    test('keeps its place at both when it is tried again', async () => {
      await opened({ day: { remaining: 9, resetInMs: HOUR_MS }, minute: { remaining: 1 } });
      const first = await ask(BOTH);
      await pass(5);
      const later = [await ask(BOTH), await ask(BOTH)];
      driver.answer(
        first,
        { limit: 100, remaining: 8, resetInMs: HOUR_MS },
        { status: 429, limit: 100, remaining: 0, retryInMs: 1000 },
      );
      await made.quiet();
      const again = driver.retry(first);
      all.push(again);
      await made.quiet();
      driver.granted.length = 0;
      await pass(1000);
      expect(driver.granted).toEqual([first.ticket.id]);
      driver.answer(
        again,
        { limit: 100, remaining: 8, resetInMs: HOUR_MS },
        { limit: 100, remaining: 5, resetInMs: MINUTE_MS },
      );
      await pass(0);
      expect(driver.granted).toEqual([first, ...later].map(({ ticket }) => ticket.id));
    });

    test('which waits alone for a time holds nothing meanwhile', async () => {
      await opened({ day: { remaining: 1, resetInMs: HOUR_MS }, minute: { remaining: 9 } });
      const first = await ask(BOTH);
      driver.unsent(first);
      await made.quiet();
      const again = driver.retry(first, clock.now() + 3000);
      all.push(again);
      await pass(0);
      expect(leases('day', 'minute')).toEqual([0, 0]);
      const other = await ask({ bucket: 'day' });
      expect(other.state.kind).toBe('granted');
      driver.unsent(other);
      await pass(3000);
      expect(again.state.kind).toBe('granted');
    });

    test('costs each bucket its own', async () => {
      await opened({ day: { remaining: 9, resetInMs: HOUR_MS }, minute: { remaining: 9 } });
      const purge = { bucket: 'day', others: [['minute', 4]] } as const;
      const asked = [await ask(purge), await ask(purge), await ask(purge)];
      const small = await ask({ bucket: 'day' });
      expect(kinds(...asked, small)).toEqual(['granted', 'granted', 'waiting', 'granted']);
      const [first] = asked;
      if (first !== undefined) driver.unsent(first);
      await pass(0);
      expect(asked[2]?.state.kind).toBe('granted');
    });

    describe('as the request that tests a bucket', () => {
      test('at its refill, but waits elsewhere, keeps others waiting only for a moment', async () => {
        await opened({ day: { remaining: 0 }, minute: { remaining: 9, resetInMs: HOUR_MS } });
        ledger.pause('minute');
        await made.quiet();
        const canary = await ask(BOTH);
        const others = [await ask({ bucket: 'day' }), await ask({ bucket: 'day' })];
        await pass(MINUTE_MS);
        expect(leases('day')).toEqual([1]);
        await pass(2500);
        expect(kinds(canary, ...others)).toEqual(['waiting', 'granted', 'granted']);
      });

      test('with all of it, but waits elsewhere, leaves nothing to others', async () => {
        await opened({
          day: { limit: 3, remaining: 0 },
          minute: { remaining: 9, resetInMs: HOUR_MS },
        });
        ledger.pause('minute');
        await made.quiet();
        const canary = await ask({ ...BOTH, cost: 3 });
        const other = await ask({ bucket: 'day' });
        await pass(MINUTE_MS + 8000);
        ledger.resume('minute');
        await pass(500);
        expect(kinds(canary, other)).toEqual(['granted', 'waiting']);
      });

      test('as its first, but waits elsewhere, keeps others waiting only for a moment', async () => {
        await opened({ minute: { remaining: 9, resetInMs: HOUR_MS } });
        ledger.pause('minute');
        await made.quiet();
        const first = await ask(BOTH);
        const other = await ask({ bucket: 'day' });
        expect(leases('day')).toEqual([1]);
        await pass(5500);
        expect(kinds(first, other)).toEqual(['waiting', 'granted']);
        driver.answer(other, { limit: 100, remaining: 50, resetInMs: MINUTE_MS });
        ledger.resume('minute');
        await pass(0);
        expect(first.state.kind).toBe('granted');
        driver.answer(
          first,
          { limit: 100, remaining: 49, resetInMs: MINUTE_MS },
          { limit: 100, remaining: 8, resetInMs: HOUR_MS },
        );
        await pass(1000);
        expect(made.ledger.view('day')).toMatchObject({ remaining: 49, leases: 0 });
      });
    });

    describe('takes a socket', () => {
      test('with the last of them alone', async () => {
        await made.ledger.close();
        await open({ sockets: 1 });
        await opened({ day: { remaining: 5 }, minute: { remaining: 5 } });
        const asked = await ask(BOTH);
        expect(asked.state.kind).toBe('granted');
        expect(socketPermits.free).toBe(0);
        const next = await ask(BOTH);
        expect(next.state.kind).toBe('waiting');
        driver.unsent(asked);
        await pass(1000);
        expect(next.state.kind).toBe('granted');
      });

      test('beside requests of one of the buckets, in turn', async () => {
        await made.ledger.close();
        await open({ sockets: 1 });
        await opened({ day: { remaining: 50 }, minute: { remaining: 50 } });
        const ways = [{ bucket: 'day' }, BOTH, { bucket: 'minute' }, BOTH, { bucket: 'day' }];
        const asked: Asked[] = [];
        for (const way of ways) asked.push(await ask(way));
        const ended = new Set<Asked>();
        for (let i = 0; i < ways.length; i++) {
          const granted = asked.filter(({ state }) => state.kind === 'granted');
          const [next, ...more] = granted.filter((one) => !ended.has(one));
          expect(more).toEqual([]);
          if (next === undefined) throw new Error(`expected request ${i} to be granted`);
          driver.unsent(next);
          ended.add(next);
          await pass(1000);
        }
        expect(ended.size).toBe(ways.length);
      });
    });

    describe('with the quota of its caller,', () => {
      const REPORT = { limit: 100, remaining: 50, resetInMs: MINUTE_MS };
      const QUOTA = { limit: 5, periodMs: HOUR_MS };
      const ID = 'quota:c';

      beforeEach(() => opened({ b: REPORT }));

      async function spend(count: number, options: Parameters<typeof ask>[0] = {}): Promise<void> {
        for (let i = 0; i < count; i++) {
          const asked = await ask({ quota: QUOTA, ...options });
          expect(asked.state.kind).toBe('granted');
          driver.answerWithQuota(asked, REPORT);
          await pass(0);
        }
      }

      test('is granted as often as the quota says, and then refused by it', async () => {
        await spend(5);
        const refused = await ask({ quota: QUOTA });
        expect(refused.state).toMatchObject({
          kind: 'shed',
          code: 'caller-quota',
          bucket: { id: ID },
        });
        const { retryAfterMs } = refused.state.kind === 'shed' ? refused.state : {};
        expect(retryAfterMs).toBeGreaterThan(HOUR_MS - 1000);
        expect(retryAfterMs).toBeLessThanOrEqual(HOUR_MS);
        await pass(1000);
        expect(leases('b')).toEqual([0]);
        expect((await ask({ caller: 'other' })).state.kind).toBe('granted');
      });

      test('is never granted more, however long none was granted', async () => {
        await spend(5);
        const patient = await ask({ quota: QUOTA, maxWaitMs: 2 * HOUR_MS });
        await pass(HOUR_MS - 2000);
        expect(patient.state.kind).toBe('waiting');
        expect((await ask({ quota: QUOTA, maxWaitMs: 0 })).state.kind).toBe('shed');
        await pass(2000);
        expect(patient.state).toMatchObject({
          kind: 'granted',
          grant: { longestWaitAt: { id: ID } },
        });
      });

      test('has each operation back a period after it was spent', async () => {
        await spend(3);
        await pass(HOUR_MS / 2);
        await spend(2);
        // Redis receives an answer a little later.
        await pass(HOUR_MS / 2 + 1000);
        await spend(3);
        expect((await ask({ quota: QUOTA })).state).toMatchObject({ code: 'caller-quota' });
        await pass(HOUR_MS / 2 + 1000);
        await spend(2);
      });

      test('pays what it costs, also as the answer says, and nothing if it was not sent', async () => {
        const costly = await ask({ quota: { ...QUOTA, cost: 3 } });
        expect((await ask({ quota: { ...QUOTA, cost: 3 }, maxWaitMs: 0 })).state.kind).toBe('shed');
        driver.unsent(costly);
        await pass(1000);
        expect(made.ledger.view(ID)).toMatchObject({ limit: 5, remaining: 5, leases: 0 });
        const dear = await ask({ quota: QUOTA });
        driver.answer(dear, { resetInMs: HOUR_MS, cost: 4 }, REPORT);
        await pass(1000);
        expect(made.ledger.view(ID)).toMatchObject({ limit: 5, remaining: 1, leases: 0 });
        const impossible = await ask({ quota: { ...QUOTA, cost: 6 } });
        expect(impossible.state).toMatchObject({ code: 'cost-too-high', bucket: { id: ID } });
      });

      test('holds of the quota while it waits at the API, and nothing the other way round', async () => {
        await opened({ full: { remaining: 0 } });
        const asked = await ask({ bucket: 'full', quota: QUOTA });
        await pass(15_000);
        expect(leases(ID, 'full')).toEqual([1, 0]);
        asked.leave();
        await pass(1000);
        expect(made.ledger.view(ID)).toMatchObject({ remaining: 5, leases: 0 });
        await spend(5);
        const waiting = await ask({ quota: QUOTA, maxWaitMs: 2 * HOUR_MS });
        await pass(1000);
        expect([waiting.state.kind, ...leases(ID, 'b')]).toEqual(['waiting', 0, 0]);
      });

      test('follows a reload that changes the quota, with what is spent', async () => {
        await spend(4);
        const raised = { limit: 6, periodMs: HOUR_MS };
        await spend(2, { quota: raised });
        expect((await ask({ quota: raised })).state).toMatchObject({ code: 'caller-quota' });
        expect((await ask({ quota: QUOTA })).state).toMatchObject({ code: 'caller-quota' });
      });

      test('is kept out by an operator who paused it, and says so', async () => {
        await spend(1);
        ledger.pause(ID);
        await made.quiet();
        const asked = await ask({ quota: QUOTA, maxWaitMs: 5000 });
        await pass(5000);
        expect(asked.state).toMatchObject({ code: 'wait-too-long', paused: true });
      });
    });

    describe('notes an answer', () => {
      function note(id: string, report: ApiReport): void {
        const now = clock.now();
        const ticket: Ticket = {
          id: 'noted',
          bucket: { id, class: 'read' },
          owner: 'o',
          caller: 'c',
          priority: 'normal',
          weight: 1,
          arrivedAt: now - 5000,
          deadlineAt: now + MINUTE_MS,
        };
        const { limit = 100, remaining = 0, resetInMs: afterMs = MINUTE_MS } = report;
        const reset = { kind: 'delay', afterMs, resolutionMs: 0 } as const;
        const reading = { limit, remaining, reset };
        const answer = { status: 200, reading, sentAt: now, receivedAt: now };
        ledger.spendUngranted(ticket, { kind: 'answered', answer });
      }

      test('of a bucket that is not known yet', async () => {
        note('new', { remaining: 42 });
        await pass(0);
        expect(made.ledger.view('new')).toMatchObject({ limit: 100, remaining: 42, leases: 0 });
      });

      test('of a bucket that is open', async () => {
        await opened({ day: { remaining: 50 } });
        note('day', { remaining: 42 });
        await pass(100);
        expect(made.ledger.view('day')).toMatchObject({ remaining: 42, leases: 0 });
      });

      test.each(['with a queue', 'with nothing left', 'that is paused'])(
        'not of a bucket %s, and disturbs no ticket',
        async (state) => {
          const remaining = state === 'that is paused' ? 5 : 0;
          await opened({ day: { remaining } });
          if (state === 'that is paused') ledger.pause('day');
          await made.quiet();
          const waiting = state === 'with nothing left' ? [] : [await ask({ bucket: 'day' })];
          note('day', { remaining: 42 });
          await pass(1000);
          expect(made.ledger.view('day')).toMatchObject({
            remaining,
            leases: 0,
            waiting: waiting.length,
          });
          expect(socketPermits.free).toBe(sockets);
        },
      );
    });
  });
}
