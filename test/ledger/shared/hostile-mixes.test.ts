// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { playMix, type Mix, type MixResult } from '../../support/hostile-mix.ts';
import { exactMix, MIX_CASES } from '../../support/hostile-mixes.ts';
import { Replicas } from '../../support/redis-replicas.ts';

let fleet: Replicas;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());
afterEach(() => fleet.clear());

/** Two replicas share the bucket. */
function playShared(mix: Mix): Promise<MixResult> {
  const replicas = ['a', 'b'].map((name) => {
    const apiClock = new ApiClock();
    const { ledger, permits } = fleet.add(name, { sockets: 1000, maxQueue: 1000, apiClock });
    return { ledger, permits, apiClock };
  });
  return playMix(mix, { clock: fleet.clock, replicas, quiet: () => fleet.quiet() });
}

/**
 * The model is the same as in one process, where a simulation takes a tenth of the time: of each kind of
 * mix, the hardest are enough, and of a ceiling half the time.
 */
const HARDEST = MIX_CASES.filter(({ name }) =>
  /^sliding, costs|^leaky, costs (?:stated|bounded)|^5 at once, 50\S* ms, (?:a|no) rate$|± 2 ms, sliding/.test(
    name,
  ),
);

test.each(HARDEST)('$name', async ({ mix: whole, refused, used }) => {
  const { ceiling, periodMs } = whole;
  const mix = ceiling === undefined ? whole : { ...whole, periodMs: periodMs / 2 };
  const result = await playShared(mix);
  // In which order the replicas' steps of one moment reach the server varies, and so does what chance
  // decides. Where nothing may be refused, nothing is.
  expect(result.refusedShare).toBeLessThanOrEqual(2 * refused);
  expect(result.utilisation).toBeGreaterThanOrEqual(used - 0.05);
  expect(result.longestGapMs).toBeLessThanOrEqual(1.5 * mix.periodMs);
});

test('never are more operations out than an exact API has left, whatever they cost', async () => {
  await fc.assert(
    fc.asyncProperty(exactMix, async (mix) => {
      const { refused, overdrawn } = await playShared(mix);
      await fleet.clear();
      expect(refused).toBe(0);
      // An API whose bucket leaks reports whole operations.
      expect(overdrawn).toBeLessThanOrEqual(mix.semantics === 'leaky' ? 1 : 0);
    }),
    { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 3) },
  );
});
