import { BudgetGroups, type ReportedBudget } from './budget-groups.ts';
import { declaredMeaning, rulesByHeader, type RateHeaderRule } from './declared-headers.ts';
import { meaningOf, type NameMeaning } from './header-names.ts';
import { readCount, readRepeated } from './header-values.ts';
import { RateLimitFields } from './ratelimit-fields.ts';
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

/** Reads what an answer's headers report. Never throws, whatever the bytes. */
export type RateHeaderReader = (headers: HeaderRecord) => RateHeaders;

/** A header of an answer that says something of a rate limit. */
interface PlannedHeader {
  readonly name: string;
  /** `fields`: `RateLimit` or `RateLimit-Policy`. */
  readonly meaning: NameMeaning | 'fields';
  /** What the name says if the value is no structured field, for a field with a prefix. */
  readonly otherwise?: NameMeaning | undefined;
}

/**
 * Makes a reader for the answers of one API. They mostly have the same headers, so it remembers which
 * names the last answer had and what they meant: a name's words are read once.
 *
 * It reads:
 *
 * - the names that {@link meaningOf} understands, with the values that header-values.ts and
 *   reset-value.ts describe;
 * - `RateLimit` and `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers from 07 on, also with a
 *   prefix (`Beta-RateLimit`);
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
      const isOfBudget = meaning?.role !== 'retryAfter' && meaning?.role !== 'members';
      if (isOfBudget && !rules.has(name) && meaning?.bucket === bucket) return meaning.family;
    }
    return undefined;
  };
  const plan: PlannedHeader[] = [];
  for (const [name, known] of byName) {
    const rule = rules.get(name);
    const undeclared = FIELD.test(name) ? 'fields' : known;
    const meaning = rule === undefined ? undeclared : declaredMeaning(rule, known, familyOf);
    if (meaning === undefined || plan.length >= MAX_RATE_HEADERS) continue;
    plan.push(meaning === 'fields' ? { name, meaning, otherwise: known } : { name, meaning });
  }
  return plan;
}

/** Some APIs send the structured fields of the IETF drafts with a prefix. */
const FIELD = /^(?:[a-z\d]{1,20}-){0,3}ratelimit(?:-policy)?$/;

/** Whether a header is one of the structured fields of the IETF drafts, without a prefix. */
function isField(name: string): boolean {
  return name === 'ratelimit' || name === 'ratelimit-policy';
}

function readPlanned(headers: HeaderRecord, plan: readonly PlannedHeader[]): RateHeaders {
  const doubtful: string[] = [];
  const groups = new BudgetGroups();
  let retryAfter: Reset | undefined;
  let scope: string | undefined;
  const fields = new RateLimitFields();
  for (const { name, meaning: known, otherwise } of plan) {
    const text = textOf(headers, name);
    if (text === undefined) continue;
    const isRead = known === 'fields' && fields.add(name, text);
    const meaning = known === 'fields' ? otherwise : known;
    if (isRead) continue;
    if (meaning === undefined) doubtful.push(name);
    else if (meaning.role === 'scope') scope ??= text.slice(0, MAX_NAME_LENGTH);
    else if (meaning.role === 'retryAfter') {
      const value = readWait(text, meaning);
      if (value === undefined) doubtful.push(name);
      // The one in milliseconds is more exact, and APIs round the other one up.
      else if (retryAfter === undefined || meaning.unitMs === 1) retryAfter = value;
    } else if (!groups.add(meaning, name, text) && !meaning.isWeak) doubtful.push(name);
  }
  const budgets = joined([...fields.budgets(), ...groups.budgets(doubtful)]);
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

/**
 * Joins the reports of one counter. Some APIs report it in two families of headers, and one of them may
 * be incomplete.
 */
function joined(budgets: readonly ReportedBudget[]): readonly ReportedBudget[] {
  if (budgets.length < 2) return budgets;
  const counters: ReportedBudget[] = [];
  for (const budget of budgets) {
    const at = counters.findIndex((one) => isSameCounter(one, budget));
    const known = counters[at];
    if (known === undefined) counters.push(budget);
    else counters[at] = { ...budget, ...known, ...lowerRemaining(known, budget) };
  }
  // Beside a count, a limit alone says nothing that could be used.
  const counts = counters.filter(({ remaining, reset }) => (remaining ?? reset) !== undefined);
  return counts.length === 0 ? counters : counts;
}

/** Whether two reports can be of one counter: nothing that both say differs, but what remains of one limit. */
function isSameCounter(one: ReportedBudget, other: ReportedBudget): boolean {
  const isSame = (key: 'name' | 'limit' | 'remaining' | 'periodMs'): boolean =>
    one[key] === undefined || other[key] === undefined || one[key] === other[key];
  const isOneLimit = one.limit === other.limit;
  return (
    (one.name ?? '') === (other.name ?? '') &&
    isSame('limit') &&
    isSame('periodMs') &&
    (isOneLimit || isSame('remaining'))
  );
}

function lowerRemaining(
  { remaining: one }: ReportedBudget,
  { remaining: other }: ReportedBudget,
): Pick<ReportedBudget, 'remaining'> {
  if (one === undefined || other === undefined) return {};
  return { remaining: Math.min(one, other) };
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
