import { MAX_COUNT, readQuotaPolicies, readServiceLimits } from './ratelimit-fields.ts';
import { readReset, readRetryAfter, type Reset } from './reset-value.ts';

/**
 * What one answer's headers report of the budget. A field is absent if its header was absent or
 * doubtful.
 */
export interface RateLimitReading {
  readonly limit?: number;
  readonly remaining?: number;
  readonly reset?: Reset;
  readonly retryAfter?: Reset;
  /** Names of the headers that were present but could not be read. */
  readonly doubtful?: readonly string[];
}

/** Headers by lower-case name, as Node and undici give them. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The budget that one group of headers reports. */
type Budget = Mutable<Pick<RateLimitReading, 'limit' | 'remaining' | 'reset'>>;

/** The groups of three headers, the most used first. */
const TRIPLES = [
  { limit: 'x-ratelimit-limit', remaining: 'x-ratelimit-remaining', reset: 'x-ratelimit-reset' },
  { limit: 'x-rate-limit-limit', remaining: 'x-rate-limit-remaining', reset: 'x-rate-limit-reset' },
  { limit: 'ratelimit-limit', remaining: 'ratelimit-remaining', reset: 'ratelimit-reset' },
] as const;

/** A longer value that is not a plain number is rejected: it bounds the work on a hostile one. */
const MAX_LENGTH = 1024;
const COUNT = /^\d{1,15}$/;
const POLICY = /^\d{1,15}(?:; ?[a-z][a-z0-9_.-]*=[^,;]+)+$/;

/**
 * Reads what an answer's headers report of the API's rate limit. Never throws, whatever the bytes.
 *
 * It reads these groups of headers, and Retry-After (RFC 9110 §10.2.3):
 *
 * - `X-RateLimit-Limit`, `-Remaining` and `-Reset`, or the same with `X-Rate-Limit-`. They are in
 *   wide use and have no standard; {@link readReset} has the formats of the reset.
 * - `RateLimit-Limit`, `-Remaining` and `-Reset`: draft-ietf-httpapi-ratelimit-headers up to 06.
 * - `RateLimit` and `RateLimit-Policy`: the same draft from 07 on (ratelimit-fields.ts).
 *
 * If an answer reports several budgets, the result is the most binding one: the least remaining,
 * then the later reset. Numbers of different budgets are never mixed. A doubtful value is left out,
 * and its header is listed in `doubtful`. Doubtful are: negative, malformed or implausibly large
 * numbers; dates that do not exist; a header that was sent twice with different values.
 */
export function readRateLimit(headers: HeaderRecord): RateLimitReading {
  const doubtful: string[] = [];
  let budget: Budget | undefined;
  for (const triple of TRIPLES) {
    const limit = read(headers, triple.limit, readLimit, doubtful);
    const remaining = read(headers, triple.remaining, readCount, doubtful);
    const reset = read(headers, triple.reset, readReset, doubtful);
    if (limit === undefined && remaining === undefined && reset === undefined) continue;
    budget = moreBinding(budget, makeBudget(limit, remaining, reset));
  }
  for (const structured of readFields(headers, doubtful)) budget = moreBinding(budget, structured);

  const reading: Mutable<RateLimitReading> = budget ?? {};
  const retryAfter = read(headers, 'retry-after', readRetryAfter, doubtful);
  if (retryAfter !== undefined) reading.retryAfter = retryAfter;
  if (doubtful.length > 0) reading.doubtful = doubtful;
  return reading;
}

/**
 * The seconds that an answer spent in caches, from its `Age`; `undefined` if that is absent or
 * invalid. Only the first of several values counts (RFC 9111 §5.1).
 */
export function readAge(headers: HeaderRecord): number | undefined {
  const text = textOf(headers, 'age');
  if (text === undefined) return undefined;
  const comma = text.indexOf(',');
  const first = comma === -1 ? text : text.slice(0, comma);
  return readCount(first);
}

/** Reads `RateLimit`, with the limits from `RateLimit-Policy` where it has none. */
function readFields(headers: HeaderRecord, doubtful: string[]): readonly Budget[] {
  if (headers['ratelimit'] === undefined && headers['ratelimit-policy'] === undefined) return [];
  const limits = read(headers, 'ratelimit', readServiceLimits, doubtful);
  const policies = read(headers, 'ratelimit-policy', readQuotaPolicies, doubtful) ?? [];
  if (limits === undefined) {
    // A single policy gives the limit, even if no header gives what remains of it.
    const [only, ...others] = policies.filter((policy) => policy.countsOperations);
    return only !== undefined && others.length === 0 ? [makeBudget(only.quota)] : [];
  }
  const budgets: Budget[] = [];
  for (const { policy, limit, remaining, reset } of limits) {
    const named = policies.find(({ name }) => name !== undefined && name === policy);
    if (named?.countsOperations === false) continue;
    budgets.push(makeBudget(limit ?? named?.quota, remaining, reset));
  }
  return budgets;
}

function makeBudget(limit?: number, remaining?: number, reset?: Reset): Budget {
  const budget: Budget = {};
  if (limit !== undefined) budget.limit = limit;
  if (remaining !== undefined) budget.remaining = remaining;
  if (reset !== undefined) budget.reset = reset;
  return budget;
}

/**
 * The most binding of two budgets; the first, if an instant would have to be compared to a delay.
 */
function moreBinding(first: Budget | undefined, second: Budget): Budget {
  if (first === undefined) return second;
  const { remaining: left = Number.POSITIVE_INFINITY, reset: a } = first;
  const { remaining: right = Number.POSITIVE_INFINITY, reset: b } = second;
  if (left !== right) return left < right ? first : second;
  if (b === undefined) return first;
  if (a === undefined) return second;
  if (a.kind === 'instant') return b.kind === 'instant' && b.atMs > a.atMs ? second : first;
  return b.kind === 'delay' && b.afterMs > a.afterMs ? second : first;
}

/** Reads one header; adds its name to `doubtful` when it is present and cannot be read. */
function read<T>(
  headers: HeaderRecord,
  name: string,
  parse: (text: string) => T | undefined,
  doubtful: string[],
): T | undefined {
  const text = textOf(headers, name);
  if (text === undefined) return undefined;
  const value = parse(text) ?? parseRepeated(text, parse);
  if (value === undefined) doubtful.push(name);
  return value;
}

/** Joins lines of the same name to one list (RFC 9110 §5.3). Node joins them, undici does not. */
function textOf(headers: HeaderRecord, name: string): string | undefined {
  const value = headers[name];
  if (value === undefined || typeof value === 'string') return value;
  return value.length === 0 ? undefined : value.join(', ');
}

/** Reads a value that was sent several times, such as by the API and its edge, if all are equal. */
function parseRepeated<T>(text: string, parse: (text: string) => T | undefined): T | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  for (let end = text.indexOf(', '); end !== -1; end = text.indexOf(', ', end + 1)) {
    const times = (text.length + 2) / (end + 2);
    const once = text.slice(0, end + 2);
    if (Number.isInteger(times) && `${text}, ` === once.repeat(times)) {
      return parse(text.slice(0, end));
    }
  }
  return undefined;
}

function readCount(text: string): number | undefined {
  if (!COUNT.test(text)) return undefined;
  const value = Number(text);
  return value <= MAX_COUNT ? value : undefined;
}

/**
 * Reads a limit, which its policies may follow: `100, 100;w=60, 5000;w=3600` (IETF drafts up to 06,
 * and Envoy in `x-ratelimit-limit`). `remaining` belongs to the first number. A further number
 * without the parameters of a policy would be a second limit, so the value is doubtful.
 */
function readLimit(text: string): number | undefined {
  const limit = readCount(text);
  if (limit !== undefined || text.length > MAX_LENGTH) return limit;
  const [first = '', ...policies] = text.split(',').map((member) => member.trim());
  if (!policies.every((policy) => policy === first || POLICY.test(policy))) return undefined;
  return readCount(POLICY.test(first) ? first.slice(0, first.indexOf(';')) : first);
}
