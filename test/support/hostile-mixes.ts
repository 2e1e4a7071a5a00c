import * as fc from 'fast-check';
import type { ResetFormat } from './dialect.ts';
import type { Mix } from './hostile-mix.ts';
import type { Semantics } from './limiter.ts';

/** A mix, and what it may cost at most. */
export interface MixCase {
  readonly name: string;
  readonly mix: Mix;
  /** Of our requests, the share that the API may refuse. */
  readonly refused: number;
  /** What the API must accept at least, of what its limits allow. */
  readonly used: number;
}

const EXACT: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
const VARIED = [1, 3, 12, 2, 7];
const BUDGET = { limit: 100, periodMs: 10_000 };

/**
 * Costs × windows × other consumers. Where the costs are known and nothing else spends, nothing is
 * refused. Another consumer takes what is left for a call on its way, the sooner the more it costs. Costs
 * that only the answer shows cannot be known before: a stated upper bound avoids these refusals.
 */
const COSTS: readonly MixCase[] = EXACT.flatMap((semantics) => {
  const isLeaky = semantics === 'leaky';
  const common = { ...BUDGET, semantics, costs: VARIED };
  const cases: [kind: string, mix: Mix, refused: number, used: number][] = [
    ['stated', common, 0, 0.95],
    ['stated, beside others', { ...common, others: 0.3 }, isLeaky ? 0.12 : 0.04, 0.95],
    ['bounded', { ...common, shown: 'bounded' }, 0, 0.85],
    ['bounded, beside others', { ...common, shown: 'bounded', others: 0.3 }, 0.02, 0.85],
    ['settled', { ...common, shown: 'settled' }, 0.2, 0.8],
    ['settled, equal', { ...common, costs: [5], shown: 'settled' }, 0, 0.95],
  ];
  // A bucket that leaks hides what a call costs: it must be stated there.
  const learned: Mix = { ...common, costs: [5], shown: 'learned' };
  if (!isLeaky) {
    cases.push(['learned', learned, 0, 0.95]);
    cases.push(['learned, beside others', { ...learned, others: 0.3 }, 0.03, 0.95]);
  }
  return cases.map(([kind, mix, refused, used]) => ({
    name: `${semantics}, costs ${kind}`,
    mix,
    refused,
    used,
  }));
});

/**
 * Ceilings × latencies, at an API that reports a rate which is no matter, and at one that reports
 * nothing. As many in flight as the API works on at once count as full use; requests that are on their
 * way make more than that possible.
 */
const CEILINGS: readonly MixCase[] = [
  [2, 0.3, 0.75],
  [5, 0.1, 0.9],
  [20, 0.03, 1.1],
].flatMap(([ceiling = 0, refused = 0, used = 0]) =>
  [[20, 40] as const, [50, 200] as const, [5, 500] as const].flatMap(([least, most]) =>
    ([{}, 'none'] as const).map((dialect): MixCase => ({
      name: `${ceiling} at once, ${least}-${most} ms, ${dialect === 'none' ? 'no' : 'a'} rate`,
      mix: {
        semantics: 'fixed',
        limit: 100_000,
        periodMs: 20_000,
        ceiling,
        oneWayMs: [least, most],
        dialect,
        callers: 60,
        periods: 3,
      },
      refused,
      used,
    })),
  ),
);

const RESETS: readonly ResetFormat[] = [
  'iso-micros',
  'delta-float',
  'epoch-ceil',
  'delta-ceil',
  'http-date',
];

/**
 * Jitter × dialects × costs. A reset in whole seconds costs a second of each period of ten, where slots
 * return one by one.
 */
const JITTERS: readonly MixCase[] = ['fixed', 'sliding', 'leaky'].flatMap((name) => {
  const semantics = EXACT.find((one) => one === name) ?? 'fixed';
  return RESETS.flatMap((reset) =>
    [0.1, 2, 50].map((jitterMs): MixCase => {
      // A slot of many operations that returns a moment early is missed by as many.
      const isEarly = semantics === 'sliding' && reset === 'iso-micros';
      return {
        name: `${reset} ± ${jitterMs} ms, ${semantics}`,
        mix: { ...BUDGET, semantics, costs: VARIED, jitterMs, dialect: { reset } },
        refused: isEarly ? 0.03 : 0,
        used: 0.8,
      };
    }),
  );
});

/** Such a refusal says no more than one that reports nothing. */
const ZEROS: readonly MixCase[] = CEILINGS.filter(({ name }) => name.includes('50-200')).map(
  ({ name, mix, refused, used }) => ({
    name: `${name}, refused with a limit of 0`,
    mix: { ...mix, saysZero: true },
    refused,
    used,
  }),
);

export const MIX_CASES: readonly MixCase[] = [...COSTS, ...CEILINGS, ...ZEROS, ...JITTERS];

/** APIs that are exact, and whose costs are known: these refuse nothing. */
export const exactMix: fc.Arbitrary<Mix> = fc
  .record({
    semantics: fc.constantFrom(...EXACT),
    limit: fc.integer({ min: 12, max: 120 }),
    periodMs: fc.integer({ min: 3000, max: 20_000 }),
    costs: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 }),
    shown: fc.constantFrom('stated', 'bounded'),
    least: fc.integer({ min: 1, max: 150 }),
    wider: fc.integer({ min: 0, max: 150 }),
    skewMs: fc.constantFrom(-3_600_000, -70, 0, 70, 3_600_000),
    callers: fc.integer({ min: 1, max: 40 }),
    seed: fc.nat(1000),
  })
  .map(({ least, wider, ...rest }): Mix =>
    Object.assign(rest, { periods: 5, oneWayMs: [least, least + wider] as const }),
  );
