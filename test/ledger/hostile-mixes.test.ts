import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { playMix, type Mix, type MixResult } from '../support/hostile-mix.ts';
import { exactMix, MIX_CASES } from '../support/hostile-mixes.ts';
import { FakePermits } from '../support/ledger-driver.ts';
import { seededRandom } from '../support/seeded-random.ts';

async function playLocally(mix: Mix): Promise<MixResult> {
  const clock = new FakeClock();
  const permits = new FakePermits(1000);
  const apiClock = new ApiClock();
  const random = seededRandom(3);
  const ledger = new LocalLedger({
    clock,
    random,
    apiClock,
    socketPermits: permits,
    maxQueue: 1000,
  });
  const quiet = async (): Promise<void> => {
    for (let i = 0; i < 12; i++) await Promise.resolve();
  };
  const result = await playMix(mix, { clock, replicas: [{ ledger, permits, apiClock }], quiet });
  await ledger.close();
  return result;
}

test.each(MIX_CASES)('$name', async ({ mix, refused, used }) => {
  const result = await playLocally(mix);
  expect(result.refusedShare).toBeLessThanOrEqual(refused);
  expect(result.utilisation).toBeGreaterThanOrEqual(used);
  expect(result.longestGapMs).toBeLessThanOrEqual(1.5 * mix.periodMs);
});

test('never are more operations out than an exact API has left, whatever they cost', async () => {
  await fc.assert(
    fc.asyncProperty(exactMix, async (mix) => {
      const { refused, overdrawn } = await playLocally(mix);
      expect(refused).toBe(0);
      // An API whose bucket leaks reports whole operations.
      expect(overdrawn).toBeLessThanOrEqual(mix.semantics === 'leaky' ? 1 : 0);
    }),
    { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 60) },
  );
});
