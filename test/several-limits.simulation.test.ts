import { describe, expect, test } from 'vitest';
import { simulateBuckets } from './support/several-buckets-simulation.ts';
import type { WorldLimit } from './support/several-buckets-world.ts';

const MINUTE_MS = 60_000;
const SECOND: WorldLimit = { id: 'second', limit: 50, periodMs: 1000 };
const MINUTE: WorldLimit = { id: 'minute', limit: 200, periodMs: MINUTE_MS };
const HOUR: WorldLimit = { id: 'hour', limit: 1200, periodMs: 15 * MINUTE_MS };
const NESTED = [
  ['minute', 1],
  ['second', 1],
] as const;

test.each([
  ['fixed', 'opens with its first request: it loses a round trip', 1000 / 1080],
  ['sliding', 'slides: each slot loses a round trip', 1000 / 1080],
  ['aligned', 'is aligned to the clock: it loses nothing', 1],
] as const)(
  'a window of a second that counts as %s %s, and no more',
  async (semantics, _, most) => {
    const { utilisation, refusedShare } = await simulateBuckets({
      limits: [{ ...SECOND, semantics }],
      demands: [{ owner: 'a', draws: [['second', 1]], perSecond: 80, waiting: 100 }],
      runMs: 40_000,
      oneWayMs: [40, 40],
    });
    expect(utilisation('second')).toBeGreaterThanOrEqual(most - 0.01);
    expect(refusedShare).toBe(0);
  },
);

describe.each([
  ['reported', 'fixed', false],
  ['reported', 'sliding', false],
  ['stated', 'fixed', true],
] as const)('%s limits that count as %s', (_, semantics, isStated) => {
  const as = (...limits: WorldLimit[]): WorldLimit[] =>
    limits.map((limit) => Object.assign({}, limit, { semantics, isStated }));

  test('of a second under one of a minute: the minute is used up, without refusals', async () => {
    const { utilisation, refusedShare } = await simulateBuckets({
      limits: as(SECOND, MINUTE),
      demands: [{ owner: 'a', draws: NESTED, perSecond: 10 }],
      runMs: 10 * MINUTE_MS,
    });
    expect(utilisation('minute')).toBeGreaterThanOrEqual(0.97);
    expect(refusedShare).toBeLessThanOrEqual(0.01);
  });

  test('of a minute under a longer one: the minute is used up, and the longer one then', async () => {
    const { utilisation, served, refusedShare } = await simulateBuckets({
      limits: as(HOUR, MINUTE),
      demands: [
        {
          owner: 'a',
          draws: [
            ['hour', 1],
            ['minute', 1],
          ],
          perSecond: 4,
          // A ticket waits for the minute, and not for the longer window.
          maxWaitMs: 2 * MINUTE_MS,
        },
      ],
      runMs: 5 * MINUTE_MS,
    });
    expect(utilisation('minute')).toBeGreaterThanOrEqual(0.97);
    expect(served('a')).toBeLessThanOrEqual(1200);
    expect(refusedShare).toBeLessThanOrEqual(0.01);
  });

  test('of a class and of all: a class that has nothing left takes nothing from others', async () => {
    const other = {
      owner: 'other',
      draws: [['second', 1]],
      perSecond: 80,
      waiting: 100,
    } as const;
    const runMs = 3 * MINUTE_MS;
    const alone = await simulateBuckets({ limits: as(SECOND), demands: [other], runMs });
    const crossing = await simulateBuckets({
      limits: as(SECOND, MINUTE),
      demands: [{ owner: 'class', draws: NESTED, perSecond: 20, waiting: 400 }, other],
      runMs,
    });
    // How much of a window of a second is used is another matter.
    const share = crossing.utilisation('second') / alone.utilisation('second');
    expect(share).toBeGreaterThanOrEqual(0.97);
    expect(crossing.utilisation('minute')).toBeGreaterThanOrEqual(0.97);
    expect(crossing.refusedShare).toBeLessThanOrEqual(0.01);
  });

  test('are fair where they bind: a flood delays another owner by little', async () => {
    const demands = [
      { owner: 'flood', draws: NESTED, perSecond: 20, waiting: 400 },
      { owner: 'small', draws: NESTED, perSecond: 0.5, waiting: 400 },
    ] as const;
    const runMs = 10 * MINUTE_MS;
    const { world, served } = await simulateBuckets({ limits: as(SECOND, MINUTE), demands, runMs });
    const small = world.calls.filter(({ owner }) => owner === 'small');
    // All but those of the last window: it needs 30 of the 200 a minute.
    expect(served('small')).toBeGreaterThanOrEqual(small.length - 45);
    expect(served('flood')).toBeGreaterThanOrEqual(8 * 165);
  });

  test('of an owner and of all: one owner cannot take what another may use', async () => {
    const ofA: WorldLimit = { id: 'a', limit: 100, periodMs: MINUTE_MS };
    const ofB: WorldLimit = { id: 'b', limit: 100, periodMs: MINUTE_MS };
    const site: WorldLimit = { id: 'site', limit: 120, periodMs: MINUTE_MS };
    const { served, utilisation, refusedShare } = await simulateBuckets({
      limits: as(ofA, ofB, site),
      demands: [
        {
          owner: 'a',
          draws: [
            ['a', 1],
            ['site', 1],
          ],
          perSecond: 10,
          waiting: 400,
        },
        {
          owner: 'b',
          draws: [
            ['b', 1],
            ['site', 1],
          ],
          perSecond: 1,
          waiting: 400,
        },
      ],
      runMs: 10 * MINUTE_MS,
    });
    expect(utilisation('site')).toBeGreaterThanOrEqual(0.97);
    expect(refusedShare).toBeLessThanOrEqual(0.01);
    // Each has a fair share of 60 a minute.
    expect(served('b')).toBeGreaterThanOrEqual(9 * 50);
    expect(served('a')).toBeGreaterThanOrEqual(9 * 50);
  });
});
