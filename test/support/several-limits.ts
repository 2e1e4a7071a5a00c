import type { LimitScope } from '../../src/http/limit-rule.ts';
import { foldPath, makePathPattern } from '../../src/http/path-pattern.ts';
import {
  makeLimiter,
  type Limiter,
  type LimiterOptions,
  type Semantics,
  type Verdict,
} from './limiter.ts';

/** A request, as far as the limits of an API look at it. */
export interface MeteredRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly credential: string;
  readonly body?: string;
}

/** A limit of an API: which requests it counts, in which counters, and what they cost. */
export interface ApiLimit extends LimiterOptions {
  readonly name: string;
  /** `fixed` by default. */
  readonly semantics?: Semantics;
  /** Whose requests share a counter; `credential` by default. */
  readonly scope?: LimitScope;
  /** The requests that it counts, as a pattern of paths or a predicate; all by default. */
  readonly counts?: string | ((request: MeteredRequest) => boolean);
  /** Parts the counters of one scope further: by channel, by method. */
  readonly part?: (request: MeteredRequest) => string;
  /** 1 by default. */
  readonly cost?: (request: MeteredRequest) => number;
  /** Which answers report it; all by default. */
  readonly reported?: 'always' | 'when-it-refuses' | 'never';
}

/** What an answer may report of one limit. */
export interface Report extends Verdict {
  readonly name: string;
  readonly periodMs: number;
}

/** An answer, as far as its rate headers depend on it. */
export interface Metered {
  readonly request: MeteredRequest;
  /** On the API's own clock. */
  readonly nowMs: number;
  /** In the order in which the limits are checked. */
  readonly reports: readonly Report[];
  /** The limit that refused the request, also if it is not among the reports. */
  readonly refusedBy: Report | undefined;
}

/** Renders the rate headers of an answer. limit-reports.ts has those of the known dialects. */
export type Reporter = (metered: Metered) => Record<string, string>;

export interface MeterOptions {
  /** In the order in which the API checks them. */
  readonly limits: readonly ApiLimit[];
  readonly report: Reporter;
  /** What a refused request spends: nothing (the default), or in each limit before the one that refused. */
  readonly refusalSpends?: 'nothing' | 'checked-before';
  /** 429 by default. */
  readonly refusalStatus?: number;
  /** Each credential is an account of its own by default. */
  readonly accountOf?: (credential: string) => string;
}

export interface MeterAnswer {
  /** 200, or that of a refusal. */
  readonly status: number;
  readonly headers: Record<string, string>;
  /** The name of the limit that refused the request. */
  readonly refusedBy: string | undefined;
  /** The counters that counted the request, or would have: names as in {@link Meter.counters}. */
  readonly counters: readonly string[];
}

/** What one counter did so far. */
export interface CounterUse {
  readonly limit: string;
  /** The operations that it counted. */
  spent: number;
  /** The requests that it accepted, but not those that another limit refused. */
  served: number;
  refused: number;
}

/** An API that counts each request in several limits. It has no clock and no sockets. */
export interface Meter {
  /** Counts a request that arrives at `nowMs`, or refuses it. */
  answer(request: MeteredRequest, nowMs: number): MeterAnswer;
  /** By `limit|scope|part`, such as `core|token-a|`. */
  readonly counters: ReadonlyMap<string, Readonly<CounterUse>>;
  /** Changes the size of a limit, of all its counters. */
  setLimit(name: string, limit: number): void;
}

interface Counter extends CounterUse {
  readonly limiter: Limiter;
}

/** A limit of an API with all that depends on it alone. */
interface KnownLimit extends ApiLimit {
  readonly counts: (request: MeteredRequest) => boolean;
}

/** More counters are a mistake of a test. */
const MAX_COUNTERS = 100_000;

export function makeMeter(options: MeterOptions): Meter {
  const { report, refusalSpends = 'nothing', refusalStatus = 429 } = options;
  const { accountOf = (credential) => credential } = options;
  const limits = options.limits.map((limit): KnownLimit => {
    const counts = predicateOf(limit.counts);
    return Object.assign({ ...limit }, { counts });
  });
  const sizes = new Map(limits.map(({ name, limit }) => [name, limit]));
  const counters = new Map<string, Counter>();

  function keyOf({ name, scope = 'credential', part }: ApiLimit, request: MeteredRequest): string {
    const { credential } = request;
    const owners = { credential, account: accountOf(credential), api: '' };
    return `${name}|${owners[scope]}|${part?.(request) ?? ''}`;
  }

  function counterOf(key: string, { name, semantics = 'fixed', periodMs }: ApiLimit): Counter {
    const known = counters.get(key);
    if (known !== undefined) return known;
    if (counters.size >= MAX_COUNTERS) throw new Error(`more than ${MAX_COUNTERS} counters`);
    const limiter = makeLimiter(semantics, { limit: sizes.get(name) ?? 0, periodMs });
    const counter = { limit: name, limiter, spent: 0, served: 0, refused: 0 };
    counters.set(key, counter);
    return counter;
  }

  return {
    counters,
    answer(request, nowMs) {
      const drawn = limits
        .filter(({ counts }) => counts(request))
        .map((limit) => {
          const key = keyOf(limit, request);
          const counter = counterOf(key, limit);
          return { limit, key, counter, cost: limit.cost?.(request) ?? 1 };
        });
      const refusing = drawn.find(
        ({ counter, cost }) => !counter.limiter.look(nowMs, cost).allowed,
      );
      const refusedAt = refusing === undefined ? drawn.length : drawn.indexOf(refusing);
      const reports = drawn.map((draw, at): Report & Pick<ApiLimit, 'reported'> => {
        const { limit, counter, cost } = draw;
        const spends = refusing === undefined || (at < refusedAt && refusalSpends !== 'nothing');
        if (spends) counter.spent += cost;
        const verdict = spends
          ? counter.limiter.take(nowMs, cost)
          : counter.limiter.look(nowMs, draw === refusing ? cost : 0);
        const { name, periodMs, reported = 'always' } = limit;
        return { ...verdict, name, periodMs, reported };
      });
      if (refusing === undefined) for (const { counter } of drawn) counter.served++;
      else refusing.counter.refused++;
      const refusedBy = reports[refusedAt];
      const shown = reports.filter(
        (one) =>
          one.reported === 'always' || (one.reported === 'when-it-refuses' && one === refusedBy),
      );
      return {
        status: refusing === undefined ? 200 : refusalStatus,
        headers: report({ request, nowMs, reports: shown, refusedBy }),
        refusedBy: refusedBy?.name,
        counters: drawn.map(({ key }) => key),
      };
    },
    setLimit(name, limit) {
      if (!sizes.has(name)) throw new Error(`expected one of the limits, got ${name}`);
      sizes.set(name, limit);
      for (const counter of counters.values()) {
        if (counter.limit === name) counter.limiter.setLimit(limit);
      }
    },
  };
}

function predicateOf(counts: ApiLimit['counts']): (request: MeteredRequest) => boolean {
  if (counts === undefined) return () => true;
  if (typeof counts === 'function') return counts;
  const matches = makePathPattern(counts);
  return ({ path }) => matches(foldPath(path));
}
