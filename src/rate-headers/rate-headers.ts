import { MAX_COUNT, readQuotaPolicies, readServiceLimits } from './ratelimit-fields.ts';
import { readReset, readRetryAfter, type Reset } from './reset-value.ts';

export { makeHttpDateReader } from './http-date.ts';
export type { Reset } from './reset-value.ts';

/** What one answer's headers say of the budget; a field that is absent was absent or doubtful. */
export interface RateLimitReading {
  readonly limit?: number;
  readonly remaining?: number;
  readonly reset?: Reset;
  readonly retryAfter?: Reset;
  /** Names of the headers that were there but could not be understood. */
  readonly doubtful?: readonly string[];
}

/** Headers by lower-case name, as Node and undici give them. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One budget as one group of headers reports it. */
type Budget = Mutable<Pick<RateLimitReading, 'limit' | 'remaining' | 'reset'>>;

/** The dialects of three headers each, the most used first. */
const TRIPLES = [
  { limit: 'x-ratelimit-limit', remaining: 'x-ratelimit-remaining', reset: 'x-ratelimit-reset' },
  { limit: 'x-rate-limit-limit', remaining: 'x-rate-limit-remaining', reset: 'x-rate-limit-reset' },
  { limit: 'ratelimit-limit', remaining: 'ratelimit-remaining', reset: 'ratelimit-reset' },
] as const;

/** The longest value that is looked at closely when it is not what it should be. */
const MAX_LENGTH = 1024;
const COUNT = /^\d{1,15}$/;
const POLICY = /^\d{1,15}(?:; ?[a-z][a-z0-9_.-]*=[^,;]+)+$/;

/**
 * Reads what an answer's headers say of the API's rate limit, in any of the dialects of design §5.
 *
 * Where an answer reports several budgets, the most binding one is given: the least remaining, then
 * the later reset. Its numbers are never mixed with another's. What is doubtful is left out and its
 * header named in `doubtful`: a number that is negative, broken, out of all reason or spelled as no
 * API spells it, a date that does not exist, a header that was sent twice with different values.
 * Never throws, whatever the bytes.
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
 * How many seconds the answer spent in caches; `undefined` if it says nothing, or nothing sensible.
 * Of several values the first counts (RFC 9111 §5.1).
 */
export function readAge(headers: HeaderRecord): number | undefined {
  const text = textOf(headers, 'age');
  if (text === undefined) return undefined;
  const comma = text.indexOf(',');
  const first = comma === -1 ? text : text.slice(0, comma);
  return readCount(first);
}

/** `RateLimit` with the limits that `RateLimit-Policy` states for it. */
function readFields(headers: HeaderRecord, doubtful: string[]): readonly Budget[] {
  if (headers['ratelimit'] === undefined && headers['ratelimit-policy'] === undefined) return [];
  const limits = read(headers, 'ratelimit', readServiceLimits, doubtful);
  const policies = read(headers, 'ratelimit-policy', readQuotaPolicies, doubtful) ?? [];
  if (limits === undefined) {
    // A single policy states the limit even where nothing tells how much of it is left.
    const [only, ...others] = policies.filter((policy) => policy.countsOperations);
    return only !== undefined && others.length === 0 ? [makeBudget(only.quota)] : [];
  }
  const budgets: Budget[] = [];
  for (const { policy, limit, remaining, reset } of limits) {
    const stated = policies.find(({ name }) => name !== undefined && name === policy);
    if (stated?.countsOperations === false) continue;
    budgets.push(makeBudget(limit ?? stated?.quota, remaining, reset));
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

/** Of two that cannot be compared (an instant and a delay) the first stays. */
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

/** Reads one header; notes its name when it is there and cannot be understood. */
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

/** Lines of the same name are one list (RFC 9110 §5.3); Node joins them already, undici does not. */
function textOf(headers: HeaderRecord, name: string): string | undefined {
  const value = headers[name];
  if (value === undefined || typeof value === 'string') return value;
  return value.length === 0 ? undefined : value.join(', ');
}

/** A value that was sent several times, say by the API and again by its edge, if all are equal. */
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
 * A limit may be followed by the policies that it comes from: `100, 100;w=60, 5000;w=3600` (IETF
 * drafts up to 06, and Envoy in `x-ratelimit-limit`). The first number is the one that `remaining`
 * is about; a further one without a policy's parameters would be another limit, and doubtful.
 */
function readLimit(text: string): number | undefined {
  const limit = readCount(text);
  if (limit !== undefined || text.length > MAX_LENGTH) return limit;
  const [first = '', ...policies] = text.split(',').map((member) => member.trim());
  if (!policies.every((policy) => policy === first || POLICY.test(policy))) return undefined;
  return readCount(POLICY.test(first) ? first.slice(0, first.indexOf(';')) : first);
}
