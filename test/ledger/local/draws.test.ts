import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakePermits } from '../../support/ledger-driver.ts';
import { playDraws, randomDraws } from '../../support/random-draws.ts';
import { seededRandom } from '../../support/seeded-random.ts';

test('whatever becomes of requests of several buckets, no slot and no socket is lost', async () => {
  await fc.assert(
    fc.asyncProperty(randomDraws({ hasOutages: false }), async (random) => {
      const clock = new FakeClock();
      const socketPermits = new FakePermits(random.sockets);
      const ledger = new LocalLedger({
        clock,
        socketPermits,
        maxQueue: 100,
        random: seededRandom(1),
        apiClock: new ApiClock(),
      });
      const ended = await playDraws(random, {
        ledger,
        clock,
        socketPermits,
        async quiet() {
          // Each bucket of a ticket takes a few turns.
          for (let i = 0; i < 20; i++) await Promise.resolve();
        },
      });
      expect(ended).toBe(random.calls.length);
      await ledger.close();
    }),
    { numRuns: 200, endOnFailure: true },
  );
});
