import { parseDictionary, parseList } from 'structured-headers';
import { readHttpDate, readReset, readRetryAfter } from './reset-value.ts';

/** When something happens: at a moment the API's clock names, or a while after the answer. */
export type Reset =
  | {
      readonly kind: 'instant';
      /** Milliseconds since 1970, UTC, on the API's clock. */
      readonly atMs: number;
      /** How coarse the stamp is: 1000 for whole seconds, 0 when it carries a fraction. */
      readonly resolutionMs: number;
    }
  | {
      readonly kind: 'delay';
      readonly afterMs: number;
      readonly resolutionMs: number;
    };

/** What one answer's headers say of the budget; a field that is absent was absent or doubtful. */
export interface RateLimitReading {
  readonly limit?: number;
  readonly remaining?: number;
  readonly reset?: Reset;
  readonly retryAfter?: Reset;
  /** Names of the headers that were there but could not be understood. */
  readonly doubtful?: readonly string[];
}

/** Headers by lower-case name, as HTTP libraries give them. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>;

type Draft = { -readonly [Key in keyof RateLimitReading]: RateLimitReading[Key] } & {
  doubtful?: string[];
};

/** The families of three headers, the most common first; an answer uses one of them. */
const FAMILIES = ['x-ratelimit', 'x-rate-limit', 'ratelimit'].map((family) => ({
  limit: `${family}-limit`,
  remaining: `${family}-remaining`,
  reset: `${family}-reset`,
}));

/**
 * Reads an answer's rate-limit headers: `X-RateLimit-*`, `X-Rate-Limit-*`, `RateLimit-*` (the older
 * IETF drafts), `RateLimit` with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and
 * `Retry-After`. Only whole values of a known shape count; anything else is doubtful, and absent.
 * Never throws.
 */
export function readRateLimit(headers: HeaderRecord): RateLimitReading {
  const draft: Draft = {};
  if (!readFamily(headers, draft)) readStructured(headers, draft);
  const retryAfter = one(headers, 'retry-after', readRetryAfter, draft);
  if (retryAfter !== undefined) draft.retryAfter = retryAfter;
  return draft;
}

/** Seconds an answer spent in a cache (RFC 9111 §5.1); `undefined` when it says nothing. */
export function readAge(headers: HeaderRecord): number | undefined {
  const age = headers['age'];
  return typeof age === 'string' && COUNT.test(age) ? Number(age) : undefined;
}

export { readHttpDate };

const COUNT = /^\d{1,12}$/;
/** Of `100, 100;w=60`, an older draft's limit with its policies, the limit is what comes first. */
const COUNT_WITH_POLICIES = /^(\d{1,12})(?:\s*,.{0,500})?$/;

function readFamily(headers: HeaderRecord, draft: Draft): boolean {
  for (const family of FAMILIES) {
    const { limit, remaining, reset } = family;
    const present =
      headers[remaining] !== undefined ||
      headers[limit] !== undefined ||
      headers[reset] !== undefined;
    if (!present) continue;
    assign(draft, 'limit', one(headers, limit, readLimit, draft));
    assign(draft, 'remaining', one(headers, remaining, readCount, draft));
    assign(draft, 'reset', one(headers, reset, readReset, draft));
    return true;
  }
  return false;
}

function assign<Key extends 'limit' | 'remaining' | 'reset'>(
  draft: Draft,
  key: Key,
  value: Draft[Key] | undefined,
): void {
  if (value !== undefined) draft[key] = value;
}

/** A header's one value, read; repeated lines must agree. Doubt is noted. */
function one<T>(
  headers: HeaderRecord,
  name: string,
  read: (value: string) => T | undefined,
  draft: Draft,
): T | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  const text = typeof value === 'string' ? value : new Set(value).size === 1 ? value[0] : undefined;
  const found = text === undefined ? undefined : read(text);
  if (found === undefined) doubt(draft, name);
  return found;
}

function doubt(draft: Draft, name: string): void {
  draft.doubtful = [...(draft.doubtful ?? []), name];
}

function readCount(value: string): number | undefined {
  const text = value.trim();
  return COUNT.test(text) ? Number(text) : undefined;
}

function readLimit(value: string): number | undefined {
  const match = COUNT_WITH_POLICIES.exec(value.trim());
  return match === null ? undefined : Number(match[1]);
}

/** What one policy of a structured header says. */
interface PolicyState {
  readonly remaining: number;
  readonly resetS: number | undefined;
  readonly limit: number | undefined;
}

function readStructured(headers: HeaderRecord, draft: Draft): void {
  const value = joined(headers['ratelimit']);
  if (value === undefined) return;
  const states = readItems(value, joined(headers['ratelimit-policy'])) ?? readDictionary(value);
  if (states === undefined) {
    doubt(draft, 'ratelimit');
    return;
  }
  // The policy that binds is the one with the least left; of two, the one that lasts longer.
  const [binding] = states.toSorted(
    (a, b) => a.remaining - b.remaining || (b.resetS ?? 0) - (a.resetS ?? 0),
  );
  if (binding === undefined) return;
  draft.remaining = binding.remaining;
  if (binding.limit !== undefined) draft.limit = binding.limit;
  if (binding.resetS !== undefined) {
    draft.reset = { kind: 'delay', afterMs: binding.resetS * 1000, resolutionMs: 1000 };
  }
}

/** The current draft: `"default";r=50;t=30`, with `"default";q=100;w=60` as its policy. */
function readItems(value: string, policy: string | undefined): PolicyState[] | undefined {
  try {
    const quotas = new Map<unknown, unknown>();
    if (policy !== undefined) {
      for (const [name, parameters] of parseList(policy)) quotas.set(name, parameters.get('q'));
    }
    const states = parseList(value).map(([name, parameters]) => {
      return state(parameters.get('r'), parameters.get('t'), quotas.get(name));
    });
    return states.every((found) => found !== undefined) && states.length > 0 ? states : undefined;
  } catch {
    // The library throws on what is not a structured field; the value may be of an older draft.
    return undefined;
  }
}

/** An older draft: `limit=100, remaining=50, reset=30`. */
function readDictionary(value: string): PolicyState[] | undefined {
  try {
    const fields = parseDictionary(value);
    const item = (name: string): unknown => fields.get(name)?.[0];
    const found = state(item('remaining'), item('reset'), item('limit'));
    return found === undefined ? undefined : [found];
  } catch {
    // Not a structured field at all: the caller notes the doubt.
    return undefined;
  }
}

function state(remaining: unknown, resetS: unknown, limit: unknown): PolicyState | undefined {
  if (!isCount(remaining)) return undefined;
  if (resetS !== undefined && !isCount(resetS)) return undefined;
  return { remaining, resetS, limit: isCount(limit) ? limit : undefined };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function joined(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.join(', ');
}
