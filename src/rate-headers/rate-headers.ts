import { meaningOf, type NameMeaning } from './header-names.ts';
import { MAX_LENGTH, readCount, readCountValues, type CountValue } from './header-values.ts';
import { readQuotaPolicies, readServiceLimits } from './ratelimit-fields.ts';
import { delayOf, readReset, readRetryAfter, type Reset } from './reset-value.ts';
import { parseDuration } from '../util/duration.ts';

/** What an answer reports of one budget. A field is absent if its header was absent or doubtful. */
export interface ReportedBudget {
  /** The API's name for it, if it has one. */
  readonly name?: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly reset?: Reset;
  /** The length of the period, in milliseconds. */
  readonly periodMs?: number;
}

/** What an answer's headers report of the API's rate limits. */
export interface RateLimitReadings {
  /** In the order of the headers. Numbers of different budgets are never mixed. */
  readonly budgets: readonly ReportedBudget[];
  readonly retryAfter?: Reset;
  /** Names of the headers that were present but could not be read. */
  readonly doubtful?: readonly string[];
}

/** The most binding budget of an answer, and its other instructions. */
export type RateLimitReading = ReportedBudget & Omit<RateLimitReadings, 'budgets'>;

/** Headers by lower-case name, as Node and undici give them. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Reads what an answer's headers report. Never throws, whatever the bytes. */
export type RateHeaderReader = (headers: HeaderRecord) => RateLimitReadings;

/** A header of an answer that says something of a rate limit. */
interface RateHeader {
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
 */
export function makeRateHeaderReader(): RateHeaderReader {
  let names: string[] = [];
  let plan: RateHeader[] = [];
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
      plan = planFor(names);
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

function tripleOf(plan: readonly RateHeader[]): Triple | undefined {
  const names: Record<string, string> = {};
  let family: string | undefined;
  for (const { name, meaning } of plan) {
    if (meaning === 'fields' || meaning.bucket !== '' || meaning.unitMs !== undefined) {
      return undefined;
    }
    family ??= meaning.family;
    if (meaning.family !== family) return undefined;
    names[meaning.role] = name;
  }
  const { limit, remaining, reset } = names;
  const isWhole = limit !== undefined && remaining !== undefined && reset !== undefined;
  return isWhole && plan.length === 3 ? { limit, remaining, reset } : undefined;
}

/** Reads plain values, at a third of the cost; `undefined` if any value is another one. */
function readTriple(headers: HeaderRecord, triple: Triple): RateLimitReadings | undefined {
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

const NOTHING: RateLimitReadings = { budgets: [] };

/** Reads one answer on its own: see {@link makeRateHeaderReader}. */
export function readRateLimits(headers: HeaderRecord): RateLimitReadings {
  return readPlanned(headers, planFor(Object.keys(headers)));
}

/** Reads the most binding budget of one answer: see {@link mostBinding}. */
export function readRateLimit(headers: HeaderRecord): RateLimitReading {
  return mostBinding(readRateLimits(headers));
}

/** Returns the budget with the least remaining; if equal, that with the later reset. */
export function mostBinding({ budgets, ...rest }: RateLimitReadings): RateLimitReading {
  if (budgets.length < 2) return { ...budgets[0], ...rest };
  return { ...budgets.reduce(moreBinding), ...rest };
}

/** If an instant would have to be compared to a delay, the first is returned. */
function moreBinding(first: ReportedBudget, second: ReportedBudget): ReportedBudget {
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

/** More rate headers than any API sends; a hostile answer has no more of them read. */
const MAX_RATE_HEADERS = 64;

function planFor(names: readonly string[]): RateHeader[] {
  const plan: RateHeader[] = [];
  for (const name of names) {
    const meaning =
      name === 'ratelimit' || name === 'ratelimit-policy' ? 'fields' : meaningOf(name);
    if (meaning !== undefined && plan.length < MAX_RATE_HEADERS) plan.push({ name, meaning });
  }
  return plan;
}

type CountRole = 'limit' | 'remaining' | 'used';

/** The headers of one family that concern one bucket, with their values by position. */
interface Group {
  readonly family: string;
  readonly bucket: string;
  readonly isWeak: boolean;
  readonly counts: Record<CountRole, readonly CountValue[] | undefined>;
  /** The header of each of the counts. */
  readonly headers: Record<CountRole, string>;
  readonly resets: Record<'reset' | 'resetAfter', readonly Reset[] | undefined>;
  names: readonly string[];
  periodMs: number | undefined;
}

function readPlanned(headers: HeaderRecord, plan: readonly RateHeader[]): RateLimitReadings {
  const doubtful: string[] = [];
  const groups: Group[] = [];
  let retryAfter: Reset | undefined;
  let hasFields = false;
  for (const { name, meaning } of plan) {
    const text = textOf(headers, name);
    if (text === undefined) continue;
    if (meaning === 'fields') hasFields = true;
    else if (meaning.role === 'retryAfter') {
      const value = readWait(text, meaning);
      if (value === undefined) doubtful.push(name);
      // The one in milliseconds is more exact, and APIs round the other one up.
      else if (retryAfter === undefined || meaning.unitMs === 1) retryAfter = value;
    } else if (!addTo(groupOf(groups, meaning), meaning, name, text)) doubtful.push(name);
  }
  const budgets = hasFields ? readFields(headers, doubtful) : [];
  for (const group of completed(groups)) addBudgets(group, budgets, doubtful);
  const wait = retryAfter ?? waitOf(groups);
  return {
    budgets,
    ...(wait === undefined ? {} : { retryAfter: wait }),
    ...(doubtful.length === 0 ? {} : { doubtful }),
  };
}

function groupOf(groups: Group[], { family, bucket, isWeak }: NameMeaning): Group {
  const known = groups.find((group) => group.family === family && group.bucket === bucket);
  if (known !== undefined) return known;
  const group: Group = {
    family,
    bucket,
    isWeak,
    counts: { limit: undefined, remaining: undefined, used: undefined },
    headers: { limit: '', remaining: '', used: '' },
    resets: { reset: undefined, resetAfter: undefined },
    names: [],
    periodMs: undefined,
  };
  groups.push(group);
  return group;
}

/** Adds the value of one header. Returns false if the value is doubtful. */
function addTo(group: Group, meaning: NameMeaning, name: string, text: string): boolean {
  const { role, unitMs } = meaning;
  group.periodMs ??= meaning.periodMs;
  switch (role) {
    case 'limit':
    case 'remaining':
    case 'used': {
      const values = text.startsWith('{') ? undefined : readCountValues(text);
      if (values === undefined) return readJson(group, text);
      addCounts(group, role, name, values);
      return true;
    }
    case 'reset':
    case 'resetAfter': {
      const resets = readResets(text, (one) => readResetWithUnit(one, unitMs));
      if (resets !== undefined) group.resets[role] ??= resets;
      return resets !== undefined;
    }
    case 'interval': {
      const ms = /^\d{1,12}$/.test(text) ? Number(text) * (unitMs ?? 1000) : parseDuration(text);
      if (ms !== undefined && ms > 0) group.periodMs = ms;
      return ms !== undefined;
    }
    case 'bucket':
      group.names = text.split(',', MAX_RATE_HEADERS).map((one) => one.trim().slice(0, 64));
      return true;
    case 'retryAfter':
      return true;
    default:
      role satisfies never;
      return true;
  }
}

function addCounts(
  group: Group,
  role: CountRole,
  name: string,
  values: readonly CountValue[],
): void {
  const [{ of, periodMs } = {}] = values;
  // `32/40`, whatever the header is called: 32 of 40 are used.
  if (of !== undefined && role !== 'remaining') {
    group.counts.limit ??= values.map((value) =>
      value.of === undefined ? {} : { count: value.of },
    );
    group.counts.used ??= values;
    group.headers.limit ||= name;
    group.headers.used ||= name;
  } else {
    group.counts[role] ??= values;
    group.headers[role] ||= name;
  }
  if (values.length === 1) group.periodMs ??= periodMs;
}

/** Reads an object such as `{"limit":100,"remaining":99}`. Returns whether it could be read. */
function readJson(group: Group, text: string): boolean {
  if (!text.startsWith('{') || text.length > MAX_LENGTH) return false;
  let found = false;
  for (const [key, value] of jsonEntries(text)) {
    const meaning = meaningOf(`ratelimit-${key.toLowerCase()}`);
    const isPlain = typeof value === 'number' || typeof value === 'string';
    if (meaning === undefined || meaning.bucket !== '' || !isPlain) continue;
    const one = String(value);
    if (!one.startsWith('{') && addTo(group, meaning, key, one)) found = true;
  }
  return found;
}

function jsonEntries(text: string): [string, unknown][] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? Object.entries(value) : [];
  } catch {
    return [];
  }
}

/** Reads one reset, or several by position. */
function readResets(
  text: string,
  read: (text: string) => Reset | undefined,
): readonly Reset[] | undefined {
  const single = read(text) ?? readRepeated(text, read);
  if (single !== undefined) return [single];
  if (text.length > MAX_LENGTH || !text.includes(',')) return undefined;
  const resets: Reset[] = [];
  for (const member of text.split(',')) {
    const reset = read(member.trim());
    if (reset === undefined) return undefined;
    resets.push(reset);
  }
  return resets;
}

function readResetWithUnit(text: string, unitMs: number | undefined): Reset | undefined {
  const isNumber = /^\d{1,15}(?:\.\d{1,9})?$/.test(text);
  const delay = isNumber && unitMs !== undefined ? delayOf(text, unitMs) : undefined;
  return delay ?? readReset(text);
}

function readWait(text: string, { unitMs }: NameMeaning): Reset | undefined {
  const read = (one: string): Reset | undefined =>
    unitMs === undefined ? readRetryAfter(one) : delayOf(one, unitMs);
  return read(text) ?? readRepeated(text, read);
}

/** Some APIs have a `…-retry-after` among their rate headers; it is the wait if no reset says it. */
function waitOf(groups: readonly Group[]): Reset | undefined {
  if (groups.some(({ resets }) => resets.reset !== undefined)) return undefined;
  for (const { counts, resets } of groups) {
    const isAlone = (counts.limit ?? counts.remaining ?? counts.used) === undefined;
    if (isAlone && resets.resetAfter !== undefined) return resets.resetAfter[0];
  }
  return undefined;
}

/**
 * Returns the groups that are budgets. What a family says without naming a bucket belongs to its only
 * named bucket; and a limit that was named alone belongs to the count without a name.
 */
function completed(groups: readonly Group[]): Group[] {
  const whole: Group[] = [];
  for (const group of groups) {
    const { family, bucket, counts, resets } = group;
    const relatives = groups.filter((other) => other !== group && other.family === family);
    const isPart =
      bucket === '' ? counts.remaining === undefined && counts.used === undefined : true;
    const [only] = relatives;
    if (isPart && only !== undefined && relatives.length === 1) {
      const hasCounts = counts.limit ?? counts.remaining ?? counts.used;
      const complements =
        bucket === ''
          ? hasCounts === undefined && only.counts.remaining !== undefined
          : counts.limit !== undefined &&
            counts.remaining === undefined &&
            counts.used === undefined &&
            only.counts.limit === undefined;
      if (complements) {
        only.counts.limit ??= counts.limit;
        only.resets.reset ??= resets.reset;
        only.resets.resetAfter ??= resets.resetAfter;
        only.periodMs ??= group.periodMs;
        continue;
      }
    }
    if (group.isWeak && (counts.limit === undefined || counts.remaining === undefined)) continue;
    whole.push(group);
  }
  return whole;
}

/** Adds the budgets of a group: one, or one for each position. */
function addBudgets(group: Group, budgets: ReportedBudget[], doubtful: string[]): void {
  const { counts, headers, resets, names, bucket, periodMs } = group;
  const roles = (['limit', 'remaining', 'used'] as const).filter(
    (role) => (counts[role]?.length ?? 0) > 1,
  );
  const size = Math.max(1, ...roles.map((role) => counts[role]?.length ?? 0));
  const isPaired =
    size === 1 || (roles.length > 1 && roles.every((role) => counts[role]?.length === size));
  if (!isPaired) {
    for (const role of roles) {
      const name = headers[role];
      if (!doubtful.includes(name)) doubtful.push(name);
      counts[role] = undefined;
    }
  }
  for (let at = 0; at < (isPaired ? size : 1); at++) {
    const limit = counts.limit?.[at]?.count;
    const used = counts.used?.[at]?.count;
    const left = limit === undefined || used === undefined ? undefined : Math.max(0, limit - used);
    const allResets = resets.reset ?? resets.resetAfter;
    const budget: Mutable<ReportedBudget> = {};
    const name = names[at] ?? (size === 1 ? bucket : [bucket, String(at)].join(' ').trim());
    if (name !== '') budget.name = name;
    if (limit !== undefined) budget.limit = limit;
    const remaining = counts.remaining?.[at]?.count ?? left;
    if (remaining !== undefined) budget.remaining = remaining;
    const reset = allResets?.length === size ? allResets[at] : allResets?.[0];
    if (reset !== undefined) budget.reset = reset;
    const period = counts.limit?.[at]?.periodMs ?? counts.remaining?.[at]?.periodMs ?? periodMs;
    if (period !== undefined) budget.periodMs = period;
    if (limit !== undefined || remaining !== undefined || reset !== undefined) budgets.push(budget);
  }
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

/** Reads a value that was sent several times, such as by the API and its edge, if all are equal. */
function readRepeated<T>(text: string, parse: (text: string) => T | undefined): T | undefined {
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
