// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statedShares, type StatedShares } from '../../src/queue/caller-rules.ts';
import { floodLocally, floodReplicas, type KeptFor } from '../support/flood-runs.ts';
import type { FloodOptions, FloodResult } from '../support/flood-simulation.ts';
import type { Semantics } from '../support/limiter.ts';
import { Replicas } from '../support/redis-replicas.ts';

/** A caller whose share is stated, behind a flood, in front of APIs that count in several ways. */

const PERIOD_MS = 60_000;
const PART = 0.2;
const SHARES = statedShares([{ name: 'deploy', reserve: PART }]);

type Run = (options: FloodOptions, shares: StatedShares | undefined) => Promise<FloodResult>;

/** Without shares, the option is absent. */
const keptFor = (shares: StatedShares | undefined): KeptFor =>
  shares === undefined ? {} : { shares };

const runLocally: Run = (options, shares) => floodLocally(options, keptFor(shares));

let fleet: Replicas;

const runShared: Run = (options, shares) =>
  floodReplicas(fleet, ['a', 'b'], options, keptFor(shares));

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());

type Kind = readonly [semantics: Semantics, limit: number, periods: number];
const WINDOWS: readonly Kind[] = [
  ['fixed', 10, 12.5],
  ['fixed', 60, 12.5],
  ['fixed', 500, 6.5],
  ['aligned', 60, 12.5],
];
const RUNS = [
  ['in this process', runLocally, WINDOWS],
  ['in Redis', runShared, [['fixed', 60, 6.5]]],
] as const satisfies readonly (readonly [string, Run, readonly Kind[]])[];

function flood([semantics, limit, periods]: Kind): FloodOptions {
  const floods = [{ calls: Math.round(limit * periods) }];
  return { semantics, limit, periodMs: PERIOD_MS, floods };
}

describe.each(RUNS)('a stated share %s', (_where, run, windows) => {
  test.each(windows)('is there at once, behind a flood of a %s limit of %i', async (...kind) => {
    const [, limit] = kind;
    const calls = Math.max(1, Math.floor(limit * PART));
    // At the start, in the middle, and before the last tenth of windows.
    const at = [1.05, 2.3, 3.6, 4.8];
    const bursts = { owner: 'deploy', calls, at };
    const { burstWaits, refused, utilisation } = await run({ ...flood(kind), bursts }, SHARES);
    expect(burstWaits).toHaveLength(calls * at.length);
    expect(Math.max(...burstWaits)).toBeLessThan(0.001);
    expect(refused).toBe(0);
    expect(utilisation).toBeGreaterThanOrEqual(0.985);
  });

  test.each(windows)('costs others of a %s limit of %i nothing while idle', async (...kind) => {
    const before = await run(flood(kind), undefined);
    const after = await run(flood(kind), SHARES);
    expect(after.refused).toBe(0);
    expect(after.utilisation).toBeGreaterThanOrEqual(0.985);
    const [doneBefore = 0] = before.doneAt;
    expect(after.doneAt[0]).toBeLessThanOrEqual(doneBefore * 1.03);
  });
});

describe.each([
  ['in this process', runLocally, ['sliding', 'leaky']],
  ['in Redis', runShared, ['sliding']],
] as const)('a stated share %s', (_where, run, all) => {
  test.each(all)('goes first, and loses little of a %s limit', async (semantics) => {
    const options = flood([semantics, 60, 6.5]);
    // Single calls in several parts of the period, then all of the share at once.
    const at = [1.6, 2.45, 3.3, 4.15];
    const single = { ...options, bursts: { owner: 'deploy', calls: 1, at } };
    const burst = { ...options, bursts: { owner: 'deploy', calls: 12, at: [2.3, 4.6] } };
    const [one, allAtOnce, idle] = [
      await run(single, SHARES),
      await run(burst, SHARES),
      await run(options, SHARES),
    ];
    const without = await run(burst, undefined);
    // One operation of the share becomes available in each twelfth of the period.
    expect(Math.max(...one.burstWaits)).toBeLessThan(0.1);
    expect(mean(allAtOnce.burstWaits)).toBeLessThan(mean(without.burstWaits));
    for (const { refused, utilisation } of [one, allAtOnce, idle]) {
      expect(refused).toBe(0);
      expect(utilisation).toBeGreaterThanOrEqual(0.985);
    }
  });
});

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
