import { describe, expect, test } from 'vitest';
import { LearnedDraws } from '../../src/draws/learned-draws.ts';
import { renderHeaders, type ResetFormat } from '../support/dialect.ts';
import { runDrawsWorld } from '../support/draws-world.ts';
import { makeLimiter, type Limiter, type Semantics } from '../support/limiter.ts';
import { seededRandom } from '../support/seeded-random.ts';

const SEMANTICS: readonly Semantics[] = [
  'fixed',
  'aligned',
  'sliding',
  'leaky',
  'window-counter',
  'oldest-plus-period',
  'next-token',
  'remaining-before',
];
const FORMATS: readonly ResetFormat[] = [
  'iso-micros',
  'epoch-ceil',
  'epoch-floor',
  'epoch-float',
  'epoch-ms',
  'delta-ceil',
  'delta-floor',
  'delta-float',
];
const ROUTES = [
  ['GET', '/items'],
  ['POST', '/items'],
  ['GET', '/items/:'],
  ['PUT', '/items/:/tags'],
  ['GET', '/users/:'],
] as const;
const SEEDS = 20;
const REQUESTS = 1500;

/** One counter for all routes of a credential, with everything that can make it look like several. */
function runOneCounter(semantics: Semantics, seed: number): LearnedDraws {
  const random = seededRandom(seed);
  const pick = <T>(from: readonly T[]): T => {
    const one = from[Math.floor(random() * from.length)];
    if (one === undefined) throw new Error('expected an entry, got an empty list');
    return one;
  };
  const limit = pick([5, 10, 30, 100, 300]);
  const periodMs = pick([1000, 5000, 20_000, 60_000]);
  const reset = pick(FORMATS);
  const jitterMs = pick([0, 0, 0, 2, 50, 500, 3000]);
  const ids = pick([1, 2, 3, 20]);
  const routes = ROUTES.slice(0, 1 + Math.floor(random() * ROUTES.length));
  const otherMs = pick([Infinity, Infinity, 40, 400, 3000]);
  const burst = pick([1, 1, 3, 10]);
  const isRegular = random() < 0.3;
  const costs = pick([[1], [1], [1, 2, 5]]);
  const changesAt = random() < 0.3 ? random() * REQUESTS : Infinity;
  const latency = pick([1, 20, 200]);
  const thinkMs = pick([0, 10, 100, periodMs / limit, 2000]);
  const limiters = new Map<string, Limiter>();
  const credentials = pick([['a'], ['a', 'b']]);
  for (const [at, credential] of credentials.entries()) {
    limiters.set(credential, makeLimiter(semantics, { limit: limit * (at + 1), periodMs }));
  }
  let nextOther = 0;
  let count = 0;
  const draws = new LearnedDraws();
  runDrawsWorld({
    draws,
    random,
    concurrency: pick([1, 1, 2, 5, 20]),
    requests: REQUESTS,
    waits: random() < 0.7,
    latencyMs: () => latency * (0.2 + random()),
    thinkMs: () => (isRegular ? thinkMs : thinkMs * 2 * random()),
    next: () => {
      // Often the same route several times, as callers do.
      const [method, path] = isRegular
        ? (routes[count % routes.length] ?? pick(routes))
        : pick(routes);
      const id = String(1000 + Math.floor(random() * ids));
      return { credential: pick(credentials), method, path: path.replace(':', id) };
    },
    answer: ({ credential, method, path }, now) => {
      const limiter = limiters.get(credential);
      if (limiter === undefined) throw new Error(`expected a limiter for ${credential}`);
      if (count++ > changesAt) for (const one of limiters.values()) one.setLimit(limit * 3);
      if (nextOther === 0) nextOther = now;
      while (nextOther < now) {
        for (let at = 0; at < burst; at++) limiter.take(nextOther);
        nextOther += isRegular ? otherMs : otherMs * 2 * random();
      }
      const cost = costs[(method.length + path.length) % costs.length] ?? 1;
      const verdict = limiter.take(now, cost);
      // From a cache, or from a proxy.
      if (random() < 0.02) return { status: random() < 0.5 ? 200 : 502, headers: {} };
      const said = { ...verdict, resetAtMs: verdict.resetAtMs + jitterMs * (2 * random() - 1) };
      const headers = renderHeaders(said, now, { reset });
      return { status: verdict.allowed ? 200 : 429, headers, costsOne: cost === 1 };
    },
  });
  return draws;
}

describe.each(SEMANTICS)('one counter that counts as %s', (semantics) => {
  test(`never teaches that it is several, for ${SEEDS} seeds`, () => {
    const wrong: object[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const draws = runOneCounter(semantics, seed);
      const learned = draws.lessons(0).filter(({ route }) => route !== undefined);
      if (learned.length > 0) wrong.push({ seed, learned });
    }
    expect(wrong).toEqual([]);
  });
});

describe.each(['fixed', 'sliding', 'leaky'] as const)(
  'one counter without numbers that counts as %s',
  (semantics) => {
    test.each([true, false])('is one in the end, if it states when to retry: %s', (isStated) => {
      const random = seededRandom(7);
      const draws = new LearnedDraws();
      const limiter = makeLimiter(semantics, { limit: 100, periodMs: 60_000 });
      const { refused, endMs } = runDrawsWorld({
        draws,
        random,
        concurrency: 4,
        requests: 2000,
        waits: true,
        latencyMs: () => 10 + 30 * random(),
        thinkMs: () => 200 * random(),
        next: () => {
          const path = random() < 0.5 ? '/a' : '/b';
          return { credential: 'a', method: 'GET', path };
        },
        answer: (_request, now) => {
          const { allowed, retryAtMs } = limiter.take(now);
          if (allowed) return { status: 200, headers: {} };
          const seconds = String(Math.ceil((retryAtMs - now) / 1000));
          return { status: 429, headers: isStated ? { 'retry-after': seconds } : {} };
        },
      });
      expect(refused.length).toBeGreaterThan(0);
      expect(draws.lessons(endMs)).toEqual([]);
    });
  },
);
