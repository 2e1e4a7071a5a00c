import { describe, expect, test } from 'vitest';
import { startLimitedApi, type LimitedCall } from '../support/limited-api.ts';
import { reportDraft11, reportRetryAfter } from '../support/limit-reports.ts';
import type { Semantics } from '../support/limiter.ts';
import type { ApiLimit } from '../support/several-limits.ts';
import { TimedCalls } from '../support/timed-calls.ts';
import { utilisationOf } from '../support/utilisation.ts';

const MINUTE_MS = 60_000;
const WINDOWS = 4;
/** How often calls may arrive. */
const STEP_MS = 3000;
/** A small part of the window: what a round trip costs of shorter ones is another matter. */
const LATENCY_MS = 40;
const CALLERS = ['billing', 'console', 'reports'];

/** Calls that arrive one after another. */
interface Demand {
  readonly path: string;
  readonly perMinute: number;
  /** How many URLs the body lists; without it, a call has no body. */
  readonly urls?: number;
}

interface Load {
  readonly limits: readonly ApiLimit[];
  /** The same limits as a configuration file states them. */
  readonly file: string;
  readonly demands: readonly Demand[];
}

interface Counting {
  readonly semantics: Semantics;
  readonly isReported: boolean;
}

interface Result {
  /** How fast the API served the operations of a limit, over how fast the limit allows. */
  readonly utilisation: (name: string) => number;
  /** How many requests the API refused in the first window. */
  readonly refusedFirst: number;
  /** The share of the requests that it refused later. */
  readonly refusedShare: number;
}

/** Sends calls for some windows, and lets the clock run until all are answered. */
async function run({ limits, file, demands }: Load, counting: Counting): Promise<Result> {
  const { semantics, isReported } = counting;
  const calls = await TimedCalls.start(
    (clock) =>
      startLimitedApi(
        {
          limits: limits.map((limit) => Object.assign({}, limit, { semantics })),
          report: isReported ? reportDraft11({ retryAfter: 'delta-ceil' }) : reportRetryAfter(),
        },
        { clock, latencyMs: () => LATENCY_MS },
      ),
    {
      settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '2h' },
      files: { 'headgate.yaml': file },
    },
  );
  const startedAt = calls.clock.wallMs();
  let sent = 0;
  for (let passedMs = 0; passedMs < WINDOWS * MINUTE_MS; passedMs += STEP_MS) {
    for (const { path, perMinute, urls } of demands) {
      if (passedMs % (MINUTE_MS / perMinute) !== 0) continue;
      const caller = CALLERS[sent++ % CALLERS.length];
      const headers = { authorization: 'token one-for-all', 'headgate-caller': caller };
      if (urls === undefined) calls.send(path, { headers });
      else calls.send(path, { headers, method: 'POST', body: bodyWith(urls) });
    }
    await calls.pass(STEP_MS);
  }
  const measured = [...calls.api.calls];
  const endAt = calls.clock.wallMs();
  // Far longer than the rest needs: it was more than the API accepts, but not twice as much.
  await calls.pass(WINDOWS * MINUTE_MS);
  await calls.finish(0);

  // Each caller gets the API's answer to each call, which the API serves once.
  expect(calls.answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect(calls.answers).toHaveLength(sent);
  expect(calls.api.calls.filter(({ status }) => status === 200)).toHaveLength(sent);
  const first = measured.filter(({ atMs }) => atMs < startedAt + MINUTE_MS);
  const later = measured.slice(first.length);
  return {
    utilisation(name) {
      const limit = limits.find((one) => one.name === name);
      if (limit === undefined) throw new Error(`expected one of the limits, got ${name}`);
      const costs = new Map(
        demands.map(({ path, urls = 1 }) => [path, limit.cost === undefined ? 1 : urls]),
      );
      return utilisationOf(halvesOf(limit, measured, costs), limit.periodMs, endAt);
    },
    refusedFirst: refusedOf(first),
    refusedShare: refusedOf(later) / later.length,
  };
}

/** When half of each budget was spent, from the third on: by then calls always wait. */
function halvesOf(
  { name, limit }: ApiLimit,
  calls: readonly LimitedCall[],
  costs: ReadonlyMap<string, number>,
): number[] {
  const halfAt: number[] = [];
  let spent = 0;
  for (const { status, counters, path, atMs } of calls) {
    if (status !== 200 || !counters.some((counter) => counter.startsWith(`${name}|`))) continue;
    spent += costs.get(path) ?? 1;
    if (spent >= limit * (halfAt.length + 2.5)) halfAt.push(atMs);
  }
  return halfAt;
}

function refusedOf(calls: readonly LimitedCall[]): number {
  return calls.filter(({ status }) => status === 429).length;
}

function bodyWith(urls: number): string {
  return JSON.stringify({ urls: Array.from({ length: urls }, (_, i) => `/${i}`) });
}

function urlsIn({ body = '' }: { readonly body?: string }): number {
  const { urls }: { urls: readonly unknown[] } = JSON.parse(body);
  return urls.length;
}

/** A limit of a class within one over all classes. */
function nested(othersPerMinute: number): Load {
  return {
    limits: [
      { name: 'search', limit: 6, periodMs: MINUTE_MS, counts: '/search/*' },
      { name: 'global', limit: 20, periodMs: MINUTE_MS },
    ],
    file: `
classes:
  - name: search
    path: /search/*
    limits: [{ name: search, limit: 6/1m }]
limits:
  - { name: global, limit: 20/1m }
`,
    demands: [
      { path: '/search/issues', perMinute: 10 },
      { path: '/zones', perMinute: othersPerMinute },
    ],
  };
}

/** Two limits of a class: each request is one operation of the first, and several of the second. */
const COSTLY: Load = {
  limits: [
    { name: 'requests', limit: 40, periodMs: MINUTE_MS },
    { name: 'objects', limit: 90, periodMs: MINUTE_MS, cost: urlsIn },
  ],
  file: `
classes:
  - name: purge
    methods: [POST]
    path: /purge/*
    limits:
      - { name: requests, limit: 40/1m }
      - { name: objects, limit: 90/1m, cost: { body: /urls, count: true, else: 1 } }
`,
  demands: [
    { path: '/purge/url', perMinute: 20, urls: 4 },
    { path: '/purge/cachekey', perMinute: 20, urls: 2 },
  ],
};

const KINDS: readonly (readonly [string, Counting])[] = [
  ['reported limits with fixed windows', { semantics: 'fixed', isReported: true }],
  ['reported limits that slide', { semantics: 'sliding', isReported: true }],
  ['stated limits that no answer reports', { semantics: 'fixed', isReported: false }],
];

const LOADS: readonly (readonly [string, string, Load])[] = [
  ['the limit over all classes, though a class has one within it', 'global', nested(20)],
  ['the more expensive of two limits of a class', 'objects', COSTLY],
  ['the limit of a class within a wider one over all', 'search', nested(10)],
];

describe.each(KINDS)('through the whole gateway, %s', (_kind, counting) => {
  test.each(LOADS)(
    '%s is used up, and hardly any request refused',
    async (_what, binding, load) => {
      const { utilisation, refusedFirst, refusedShare } = await run(load, counting);
      expect(utilisation(binding)).toBeGreaterThanOrEqual(0.97);
      expect(refusedShare).toBeLessThanOrEqual(0.01);
      // A reset in whole seconds may be rounded up: one canary tests the first reset of each limit.
      expect(refusedFirst).toBeLessThanOrEqual(counting.isReported ? load.limits.length : 0);
    },
  );
});
