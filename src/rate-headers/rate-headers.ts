import { BudgetGroups, type ReportedBudget } from './budget-groups.ts';
import { declaredMeaning, rulesByHeader, type RateHeaderRule } from './declared-headers.ts';
import { meaningOf, type NameMeaning } from './header-names.ts';
import { readCount, readRepeated } from './header-values.ts';
import { readQuotaPolicies, readServiceLimits } from './ratelimit-fields.ts';
import { readInUnit, readReset, readRetryAfter, type Reset } from './reset-value.ts';

/** What an answer's headers report of the API's rate limits. */
export interface RateHeaders {
  /** In the order of the headers. Numbers of different budgets are never mixed. */
  readonly budgets: readonly ReportedBudget[];
  readonly retryAfter?: Reset;
  /** How many operations the call cost. */
  readonly cost?: number;
  /** The name of the bucket that refused the call. */
  readonly scope?: string;
  /** Names of the headers that were present but could not be read. */
  readonly doubtful?: readonly string[];
}

/** The most binding budget of an answer, and its other instructions. */
export type RateLimitReading = ReportedBudget & Omit<RateHeaders, 'budgets'>;

/** Headers by lower-case name, as Node and undici give them. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Reads what an answer's headers report. Never throws, whatever the bytes. */
export type RateHeaderReader = (headers: HeaderRecord) => RateHeaders;

/** A header of an answer that says something of a rate limit. */
interface PlannedHeader {
  readonly name: string;
  /** `fields`: `RateLimit` or `RateLimit-Policy`. */
  readonly meaning: NameMeaning | 'fields';
}

/**
 * Makes a reader for the answers of one API. They mostly have the same headers, so it remembers which
 * names the last answer had and what they meant: a name's words are read once.
 *
 * It reads:
 *
 * - the names that {@link meaningOf} understands, with the values that header-values.ts and
 *   reset-value.ts describe;
 * - `RateLimit` and `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers from 07 on;
 * - `Retry-After` (RFC 9110 §10.2.3), and `retry-after-ms`, which is more exact.
 *
 * A doubtful value is left out, and its header is listed in `doubtful`. Doubtful are: negative,
 * malformed or implausibly large numbers; dates that do not exist; a header that was sent twice with
 * different values, unless the headers beside it have as many.
 *
 * `declared` says what names and values do not: it replaces what the name of its header says.
 */
export function makeRateHeaderReader(declared: readonly RateHeaderRule[] = []): RateHeaderReader {
  const rules = rulesByHeader(declared);
  let names: string[] = [];
  let plan: PlannedHeader[] = [];
  let triple: Triple | undefined;
  return (headers) => {
    let count = 0;
    let isSame = true;
    for (const name in headers) {
      if (names[count++] === name) continue;
      isSame = false;
      break;
    }
    if (!isSame || count !== names.length) {
      names = Object.keys(headers);
      plan = planFor(names, rules);
      triple = tripleOf(plan);
    }
    if (plan.length === 0) return NOTHING;
    return (triple && readTriple(headers, triple)) ?? readPlanned(headers, plan);
  };
}

/** The names of the headers of an API that reports one budget, in the usual way. */
interface Triple {
  readonly limit: string;
  readonly remaining: string;
  readonly reset: string;
}

function tripleOf(plan: readonly PlannedHeader[]): Triple | undefined {
  const names: Record<string, string> = {};
  let family: string | undefined;
  for (const { name, meaning } of plan) {
    if (meaning === 'fields' || meaning.bucket !== '') return undefined;
    if (meaning.unitMs !== undefined || meaning.periodMs !== undefined) return undefined;
    family ??= meaning.family;
    if (meaning.family !== family) return undefined;
    names[meaning.role] = name;
  }
  const { limit, remaining, reset } = names;
  const isWhole = limit !== undefined && remaining !== undefined && reset !== undefined;
  return isWhole && plan.length === 3 ? { limit, remaining, reset } : undefined;
}

/** Reads plain values, at a third of the cost; `undefined` if any value is another one. */
function readTriple(headers: HeaderRecord, triple: Triple): RateHeaders | undefined {
  const [one, two, three] = [
    headers[triple.limit],
    headers[triple.remaining],
    headers[triple.reset],
  ];
  if (typeof one !== 'string' || typeof two !== 'string' || typeof three !== 'string') {
    return undefined;
  }
  const limit = readCount(one);
  const remaining = readCount(two);
  const reset = readReset(three);
  if (limit === undefined || remaining === undefined || reset === undefined) return undefined;
  return { budgets: [{ limit, remaining, reset }] };
}

const NOTHING: RateHeaders = { budgets: [] };

/** Returns the budget with the least remaining; if equal, that with the later reset. */
export function mostBinding({ budgets, ...rest }: RateHeaders): RateLimitReading {
  if (budgets.length < 2) return { ...budgets[0], ...rest };
  return { ...budgets.reduce(moreBinding), ...rest };
}

/**
 * Returns the one of two budgets with less remaining; if equal, that with the later reset. If an
 * instant would have to be compared to a delay, the first is returned.
 */
export function moreBinding(first: ReportedBudget, second: ReportedBudget): ReportedBudget {
  const { remaining: left = Infinity, reset: a } = first;
  const { remaining: right = Infinity, reset: b } = second;
  if (left !== right) return left < right ? first : second;
  if (b === undefined) return first;
  if (a === undefined) return second;
  if (a.kind === 'instant') return b.kind === 'instant' && b.atMs > a.atMs ? second : first;
  return b.kind === 'delay' && b.afterMs > a.afterMs ? second : first;
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
  return /^\d{1,12}$/.test(first) ? Number(first) : undefined;
}

const MAX_NAME_LENGTH = 64;
/** More rate headers than any API sends; a hostile answer has no more of them read. */
const MAX_RATE_HEADERS = 64;

type Rules = ReturnType<typeof rulesByHeader>;

function planFor(names: readonly string[], rules: Rules): PlannedHeader[] {
  const byName = new Map(names.map((name) => [name, isField(name) ? undefined : meaningOf(name)]));
  const familyOf = (bucket: string): string | undefined => {
    for (const [name, meaning] of byName) {
      const isUndeclared = !rules.has(name) && meaning?.role !== 'retryAfter';
      if (isUndeclared && meaning?.bucket === bucket) return meaning.family;
    }
    return undefined;
  };
  const plan: PlannedHeader[] = [];
  for (const [name, known] of byName) {
    const rule = rules.get(name);
    const undeclared = isField(name) ? 'fields' : known;
    const meaning = rule === undefined ? undeclared : declaredMeaning(rule, known, familyOf);
    if (meaning !== undefined && plan.length < MAX_RATE_HEADERS) plan.push({ name, meaning });
  }
  return plan;
}

/** Whether a header is one of the structured fields of the IETF drafts. */
function isField(name: string): boolean {
  return name === 'ratelimit' || name === 'ratelimit-policy';
}

function readPlanned(headers: HeaderRecord, plan: readonly PlannedHeader[]): RateHeaders {
  const doubtful: string[] = [];
  const groups = new BudgetGroups();
  let retryAfter: Reset | undefined;
  let scope: string | undefined;
  let hasFields = false;
  for (const { name, meaning } of plan) {
    const text = textOf(headers, name);
    if (text === undefined) continue;
    if (meaning === 'fields') hasFields = true;
    else if (meaning.role === 'scope') scope ??= text.slice(0, MAX_NAME_LENGTH);
    else if (meaning.role === 'retryAfter') {
      const value = readWait(text, meaning);
      if (value === undefined) doubtful.push(name);
      // The one in milliseconds is more exact, and APIs round the other one up.
      else if (retryAfter === undefined || meaning.unitMs === 1) retryAfter = value;
    } else if (!groups.add(meaning, name, text)) doubtful.push(name);
  }
  const fields = hasFields ? readFields(headers, doubtful) : [];
  const budgets = [...fields, ...groups.budgets(doubtful)];
  const wait = retryAfter ?? groups.wait;
  return {
    budgets,
    ...(wait === undefined ? {} : { retryAfter: wait }),
    ...(scope === undefined ? {} : { scope }),
    ...(doubtful.length === 0 ? {} : { doubtful }),
  };
}

function readWait(text: string, meaning: NameMeaning): Reset | undefined {
  const read = (one: string): Reset | undefined => readInUnit(one, meaning, readRetryAfter);
  return read(text) ?? readRepeated(text, read);
}

/** Reads `RateLimit`, with the limits from `RateLimit-Policy` where it has none. */
function readFields(headers: HeaderRecord, doubtful: string[]): ReportedBudget[] {
  const limits = readField(headers, 'ratelimit', readServiceLimits, doubtful);
  const policies = readField(headers, 'ratelimit-policy', readQuotaPolicies, doubtful) ?? [];
  if (limits === undefined) {
    // A single policy gives the limit, even if no header gives what remains of it.
    const [only, ...others] = policies.filter((policy) => policy.countsOperations);
    return only !== undefined && others.length === 0 ? [{ limit: only.quota }] : [];
  }
  const budgets: ReportedBudget[] = [];
  for (const { policy, limit, remaining, reset } of limits) {
    const known = policies.find(({ name }) => name !== undefined && name === policy);
    if (known?.countsOperations === false) continue;
    const budget: Mutable<ReportedBudget> = { remaining };
    if (policy !== undefined) budget.name = policy;
    const most = limit ?? known?.quota;
    if (most !== undefined) budget.limit = most;
    if (reset !== undefined) budget.reset = reset;
    budgets.push(budget);
  }
  return budgets;
}

/** Reads one header; adds its name to `doubtful` when it is present and cannot be read. */
function readField<T>(
  headers: HeaderRecord,
  name: string,
  parse: (text: string) => T | undefined,
  doubtful: string[],
): T | undefined {
  const text = textOf(headers, name);
  if (text === undefined) return undefined;
  const value = parse(text) ?? readRepeated(text, parse);
  if (value === undefined) doubtful.push(name);
  return value;
}

/** Joins lines of the same name to one list (RFC 9110 §5.3). Node joins them, undici does not. */
function textOf(headers: HeaderRecord, name: string): string | undefined {
  const value = headers[name];
  if (value === undefined || typeof value === 'string') return value;
  return value.length === 0 ? undefined : value.join(', ');
}

/** Reads the most binding budget of one answer, whatever answers came before it. */
export function readRateLimit(headers: HeaderRecord): RateLimitReading {
  return mostBinding(makeRateHeaderReader()(headers));
}
