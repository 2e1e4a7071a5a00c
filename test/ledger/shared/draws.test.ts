// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DrawsLedger } from '../../../src/ledger/draws-ledger.ts';
import { FailoverLedger } from '../../../src/ledger/failover-ledger.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { makeLog } from '../../../src/telemetry/log.ts';
import { FakePermits, LedgerDriver, type Asked } from '../../support/ledger-driver.ts';
import { playDraws, randomDraws } from '../../support/random-draws.ts';
import { Replicas } from '../../support/redis-replicas.ts';
import { seededRandom } from '../../support/seeded-random.ts';

let fleet: Replicas;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());

/**
 * - `found`: a world in which a forecast counted on a reserve for owners that had gone long before, so
 *   that it shed the last request of an owner alone.
 */
test.each([
  ['whatever becomes', { numRuns: 12 }],
  ['found', { seed: -1705191736, path: '10', numRuns: 12 }],
])('of requests of several buckets and of Redis, nothing is lost: %s', async (_name, runs) => {
  await fc.assert(
    fc.asyncProperty(randomDraws({ hasOutages: true }), async (random) => {
      const { clock } = fleet;
      const socketPermits = new FakePermits(random.sockets);
      const replica = fleet.add('r1', { socketPermits });
      let isAway = false;
      const local = new LocalLedger({
        clock,
        socketPermits,
        maxQueue: 100,
        random: seededRandom(1),
        apiClock: new ApiClock(),
        standIn: { replicas: () => 1 },
      });
      const ledger = new FailoverLedger({
        shared: replica.ledger,
        local,
        replicas: () => 1,
        async probe(bucketId) {
          if (isAway) throw new Error('still away');
          if (bucketId !== undefined) await replica.ledger.probe(bucketId);
        },
        renew: () => undefined,
        clock,
        random: seededRandom(1),
        log: makeLog({
          level: 'fatal',
          replica: 'r1',
          clock,
          destination: { write: () => undefined },
        }),
        observer: { mode: () => undefined },
      });
      const ended = await playDraws(random, {
        ledger,
        clock,
        socketPermits,
        quiet: () => fleet.quiet(),
        outage(away) {
          isAway = away;
          if (away) ledger.trouble(new Error('it is away'), 'limit-0');
        },
      });
      expect(ended).toBe(random.calls.length);
      const closed = ledger.close();
      await fleet.clear();
      await closed;
    }),
    { ...runs, endOnFailure: true },
  );
});

test('a request of several buckets takes no step while leases of each are prefetched', async () => {
  const { clock } = fleet;
  const { ledger: shared, permits } = fleet.add('r2', { sockets: 1000 });
  const ledger = new DrawsLedger({ ledger: shared, clock, socketPermits: permits });
  const driver = new LedgerDriver(ledger, clock, permits);
  let remaining = 40_000;
  const answer = (asked: Asked): void => {
    const report = { limit: 60_000, remaining: --remaining, resetInMs: 3_600_000 };
    driver.answer(asked, report, report, report);
  };
  const ask = (): Asked => driver.ask({ bucket: 'day', others: ['hour', 'minute'] });
  const first = ask();
  await fleet.pass(100);
  answer(first);
  await fleet.pass(100);
  const inFlight: Asked[] = [];
  const atOnce: boolean[] = [];
  for (let i = 0; i < 300; i++) {
    for (let call = 0; call < 3; call++) {
      const asked = ask();
      atOnce.push(asked.state.kind === 'granted');
      inFlight.push(asked);
    }
    await fleet.pass(1);
    if (i >= 20) for (const one of inFlight.splice(0, 3)) answer(one);
  }
  for (const one of inFlight) answer(one);
  await fleet.pass(1000);
  // The first calls show how many leases to prefetch.
  const later = atOnce.slice(300);
  expect(later.filter(Boolean).length / later.length).toBeGreaterThan(0.9);
  await fleet.clear();
});
