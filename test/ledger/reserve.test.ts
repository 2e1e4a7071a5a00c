// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { floodLocally, floodReplicas } from '../support/flood-runs.ts';
import { quantile, type FloodOptions, type FloodResult } from '../support/flood-simulation.ts';
import type { Semantics } from '../support/limiter.ts';
import { Replicas } from '../support/redis-replicas.ts';

const SPREAD = 0.2;
const PERIOD_MS = 60_000;

type Run = (options: FloodOptions, spread: number) => Promise<FloodResult>;

const runLocally: Run = (options, spread) => floodLocally(options, { spread });

let fleet: Replicas;

const runShared: Run = (options, spread) =>
  floodReplicas(fleet, ['a', 'b', 'c'], options, { spread });

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());

type Kind = readonly [semantics: Semantics, limit: number];
const KINDS: readonly Kind[] = [
  ['fixed', 5],
  ['fixed', 40],
  ['aligned', 40],
  ['sliding', 40],
  ['leaky', 40],
];
/** The model is the same in Redis, where a simulation takes many times as long. */
const DIFFERENT_MOST: readonly Kind[] = [
  ['fixed', 40],
  ['sliding', 40],
];

describe.each([
  ['in this process', runLocally, KINDS],
  ['in Redis', runShared, DIFFERENT_MOST],
] as const)('a reserve %s', (_where, run, kinds) => {
  test.each(kinds)(
    'lets visitors of a %s limit of %i in soon, and costs a flood nothing',
    async (semantics, limit) => {
      const options: FloodOptions = {
        semantics,
        limit,
        periodMs: PERIOD_MS,
        // Long enough for some twenty visits.
        floods: [{ calls: Math.round(limit * (limit < 10 ? 40.5 : 12.5)) }],
        visitors: { owners: 1, perPeriod: Math.max(0.5, limit / 20) },
      };
      const before = await run(options, 0);
      const after = await run(options, SPREAD);
      // A leaky bucket returns its slots evenly, so nothing is kept there.
      const isLate = quantile(before.waits, 0.9) > 0.5;
      expect(isLate).toBe(semantics !== 'leaky');
      expect(quantile(after.waits, 0.9)).toBeLessThanOrEqual(0.25);
      expect(after.refused).toBe(0);
      expect(after.utilisation).toBeGreaterThanOrEqual(0.985);
      const [doneBefore = 0] = before.doneAt;
      expect(after.doneAt[0]).toBeLessThanOrEqual(doneBefore * 1.03);
    },
  );

  test.each<Semantics>(['fixed', 'sliding'])(
    'of a %s limit changes nothing for an owner alone',
    async (semantics) => {
      const options: FloodOptions = {
        semantics,
        limit: 40,
        periodMs: PERIOD_MS,
        floods: [{ calls: 220 }],
      };
      // Two runs in Redis differ by the rounding of durations.
      const seconds = async (spread: number): Promise<number[]> =>
        (await run(options, spread)).granted.map((at) => Math.round(at / 1000));
      expect(await seconds(SPREAD)).toEqual(await seconds(0));
    },
  );
});
