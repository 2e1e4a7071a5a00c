import { describe, expect, test } from 'vitest';
import { LearnedDraws } from '../../src/draws/learned-draws.ts';
import { renderHeaders, renderReset } from '../support/dialect.ts';
import {
  runDrawsWorld,
  type DrawsWorldOptions,
  type DrawsWorldResult,
  type WorldRequest,
} from '../support/draws-world.ts';
import { makeLimiter, type Limiter, type Semantics, type Verdict } from '../support/limiter.ts';
import { seededRandom } from '../support/seeded-random.ts';

const START_MS = 1_795_860_000_000;
const SEEDS = [1, 2, 3, 4, 5, 6];

interface Counter {
  readonly limit: number;
  readonly periodMs: number;
}

/** Counters by name, made when they are first used. */
function makeCounters(semantics: Semantics): (name: string, options: Counter) => Limiter {
  const limiters = new Map<string, Limiter>();
  return (name, options) => {
    const limiter = limiters.get(name) ?? makeLimiter(semantics, options);
    limiters.set(name, limiter);
    return limiter;
  };
}

type Route = readonly [method: string, path: string, weight: number];

interface Api {
  readonly routes: readonly Route[];
  /** What the API counts a request as. */
  readonly counterOf: (request: WorldRequest) => string;
  readonly answer: DrawsWorldOptions['answer'];
  readonly requests?: number;
  readonly thinkMs?: number;
  readonly concurrency?: number;
}

function run(api: Api, seed: number): DrawsWorldResult & { readonly draws: LearnedDraws } {
  const random = seededRandom(seed);
  const draws = new LearnedDraws();
  const total = api.routes.reduce((sum, [, , weight]) => sum + weight, 0);
  const result = runDrawsWorld({
    draws,
    random,
    concurrency: api.concurrency ?? 4,
    requests: api.requests ?? 2000,
    waits: true,
    startMs: START_MS,
    latencyMs: () => 10 + 30 * random(),
    thinkMs: () => (api.thinkMs ?? 60) * 2 * random(),
    answer: api.answer,
    next: () => {
      let left = random() * total;
      const [method, path] = api.routes.find(([, , weight]) => (left -= weight) < 0) ?? [
        'GET',
        '/',
      ];
      return {
        credential: 'a',
        method,
        path: path.replace('#', String(Math.floor(random() * 9000))),
      };
    },
  });
  return { ...result, draws };
}

/** The buckets on which each of the API's counters is drawn; each should have its own. */
function bucketsByCounter(draws: LearnedDraws, api: Api): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const [method, path] of api.routes) {
    const request = { credential: 'a', method, path: path.replace('#', '77') };
    const counter = api.counterOf(request);
    const names = draws.drawsOf('all', method, request.path)?.map(({ name }) => name) ?? [''];
    const buckets = found.get(counter) ?? new Set();
    found.set(counter, buckets.add(names.join(' ')));
  }
  return found;
}

/** Requests that waited after `afterMs` for a bucket that another counter's requests share. */
function wrongWaits(
  { waited }: DrawsWorldResult,
  draws: LearnedDraws,
  api: Api,
  afterMs: number,
): object[] {
  const owners = new Map<string, Set<string>>();
  for (const [counter, buckets] of bucketsByCounter(draws, api)) {
    for (const bucket of buckets) {
      owners.set(bucket, (owners.get(bucket) ?? new Set()).add(counter));
    }
  }
  return waited.filter(
    ({ atMs, bucket, request }) =>
      atMs > START_MS + afterMs && owners.get(bucket)?.has(api.counterOf(request)) === false,
  );
}

function expectToldApart(draws: LearnedDraws, api: Api): void {
  const all: string[] = [];
  for (const [counter, buckets] of bucketsByCounter(draws, api)) {
    expect([counter, buckets.size]).toEqual([counter, 1]);
    all.push(...buckets);
  }
  expect(new Set(all).size).toBe(all.length);
}

function later(refused: DrawsWorldResult['refused'], afterMs: number): number {
  return refused.filter(({ atMs }) => atMs > START_MS + afterMs).length;
}

const MINUTE_MS = 60_000;

describe('starting without any class, the counters are told apart of', () => {
  test.each(SEEDS)('GitHub, by the resources that it names (seed %d)', (seed) => {
    const counters = makeCounters('fixed');
    const isSearch = (path: string): boolean => path.startsWith('/search/');
    const api: Api = {
      routes: [
        ['GET', '/repos/a/b/issues/#', 5],
        ['GET', '/users/octocat', 3],
        ['GET', '/search/issues', 2],
        ['GET', '/search/code', 1],
      ],
      counterOf: ({ path }) => (isSearch(path) ? 'search' : 'core'),
      answer: ({ path }, now) => {
        const name = isSearch(path) ? 'search' : 'core';
        const limit = name === 'search' ? 30 : 5000;
        const periodMs = name === 'search' ? MINUTE_MS : 60 * MINUTE_MS;
        const said = counters(name, { limit, periodMs }).take(now);
        const headers = renderHeaders(said, now, { reset: 'epoch-ceil' });
        return {
          status: said.allowed ? 200 : 429,
          headers: { ...headers, 'x-ratelimit-resource': name },
        };
      },
    };
    const { draws, refused, ...result } = run(api, seed);
    expectToldApart(draws, api);
    expect(refused.length).toBeLessThanOrEqual(6);
    expect(wrongWaits({ refused, ...result }, draws, api, MINUTE_MS)).toEqual([]);
  });

  test.each(SEEDS)('Azion, by their limits (seed %d)', (seed) => {
    const counters = makeCounters('fixed');
    const counterOf = ({ method, path }: WorldRequest): string =>
      path.startsWith('/purge/') ? 'purge' : method === 'GET' ? 'read' : 'write';
    const limits: Readonly<Record<string, number>> = { read: 80, write: 20, purge: 200 };
    const api: Api = {
      routes: [
        ['GET', '/domains', 4],
        ['GET', '/domains/#', 6],
        ['POST', '/domains', 1],
        ['PUT', '/domains/#', 1],
        ['DELETE', '/domains/#', 1],
        ['POST', '/purge/url', 3],
        ['POST', '/purge/cachekey', 3],
      ],
      counterOf,
      answer: (request, now) => {
        const counter = counterOf(request);
        const limit = limits[counter] ?? 0;
        const said = counters(counter, { limit, periodMs: MINUTE_MS }).take(now);
        return { status: said.allowed ? 200 : 429, headers: renderHeaders(said, now, {}) };
      },
    };
    const { draws, refused, ...result } = run(api, seed);
    expectToldApart(draws, api);
    expect(refused.length).toBeLessThanOrEqual(12);
    expect(wrongWaits({ refused, ...result }, draws, api, MINUTE_MS)).toEqual([]);
  });

  test.each(SEEDS)('Discord, by name and then by channel (seed %d)', (seed) => {
    const counters = makeCounters('fixed');
    const bucketOf = ({ method, path }: WorldRequest): string =>
      path.includes('/messages') ? (method === 'POST' ? 'aa11' : 'bb22') : 'cc33';
    const counterOf = (request: WorldRequest): string =>
      `${bucketOf(request)} ${/\d{6,}/.exec(request.path)?.[0] ?? ''}`;
    const api: Api = {
      routes: [1, 2, 3].flatMap((channel): Route[] => [
        ['POST', `/channels/81384788765712385${channel}/messages`, 3],
        ['GET', `/channels/81384788765712385${channel}/messages`, 1],
        ['GET', `/guilds/98384788765712385${channel}`, 1],
      ]),
      counterOf,
      answer: (request, now) => {
        const said = counters(counterOf(request), { limit: 5, periodMs: 5000 }).take(now);
        const headers = {
          ...renderHeaders(said, now, { reset: 'epoch-float', retryAfter: 'delta-float' }),
          'x-ratelimit-reset-after': renderReset(said.resetAtMs, now, 'delta-float'),
          'x-ratelimit-bucket': bucketOf(request),
        };
        return { status: said.allowed ? 200 : 429, headers };
      },
      requests: 1500,
      thinkMs: 100,
      concurrency: 3,
    };
    const { draws, refused, ...result } = run(api, seed);
    expectToldApart(draws, api);
    expect(later(refused, 2 * MINUTE_MS)).toBeLessThanOrEqual(3);
    expect(refused.length).toBeLessThanOrEqual(30);
    expect(wrongWaits({ refused, ...result }, draws, api, MINUTE_MS)).toEqual([]);
  });

  test.each(SEEDS)('Slack, by what it refuses (seed %d)', (seed) => {
    const counters = makeCounters('fixed');
    const limits: Readonly<Record<string, number>> = {
      '/api/conversations.history': 50,
      '/api/chat.postMessage': 60,
      '/api/users.list': 20,
      '/api/auth.test': 1000,
    };
    const counterOf = ({ path }: WorldRequest): string => path;
    const api: Api = {
      routes: [
        ['POST', '/api/conversations.history', 4],
        ['POST', '/api/chat.postMessage', 2],
        ['POST', '/api/users.list', 2],
        ['POST', '/api/auth.test', 2],
      ],
      counterOf,
      answer: ({ path }, now) => {
        const limit = limits[path] ?? 0;
        const said: Verdict = counters(path, { limit, periodMs: MINUTE_MS }).take(now);
        if (said.allowed) return { status: 200, headers: {} };
        const seconds = Math.ceil((said.retryAtMs - now) / 1000);
        return { status: 429, headers: { 'retry-after': String(seconds) } };
      },
    };
    const { draws, refused, ...result } = run(api, seed);
    const refusedRoutes = new Set(refused.map(({ request }) => request.path));
    for (const path of refusedRoutes) {
      expect(draws.drawsOf('all', 'POST', path)).toHaveLength(1);
    }
    expect(draws.drawsOf('all', 'POST', '/api/auth.test')).toBeUndefined();
    expect(wrongWaits({ refused, ...result }, draws, api, MINUTE_MS)).toEqual([]);
  });
});
