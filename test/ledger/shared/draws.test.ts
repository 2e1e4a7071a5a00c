// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { FailoverLedger } from '../../../src/ledger/failover-ledger.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { makeLog } from '../../../src/telemetry/log.ts';
import { FakePermits } from '../../support/ledger-driver.ts';
import { expectNothingIsLost, randomDraws } from '../../support/random-draws.ts';
import { Replicas } from '../../support/redis-replicas.ts';
import { seededRandom } from '../../support/seeded-random.ts';

let fleet: Replicas;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());

test('whatever becomes of requests of several buckets and of Redis, nothing is lost', async () => {
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
      await expectNothingIsLost(random, {
        ledger,
        clock,
        socketPermits,
        quiet: () => fleet.quiet(),
        outage(away) {
          isAway = away;
          if (away) ledger.trouble(new Error('it is away'), 'limit-0');
        },
      });
      const closed = ledger.close();
      await fleet.clear();
      await closed;
    }),
    { numRuns: 12, endOnFailure: true },
  );
});
