import { meaningOf, type NameMeaning } from './header-names.ts';
import {
  MAX_LENGTH,
  membersOf,
  readCountValues,
  readRepeated,
  type CountValue,
} from './header-values.ts';
import { readInUnit, readReset, type Reset } from './reset-value.ts';
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

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** More names of buckets than one answer lists. */
const MAX_NAMES = 64;

/** `total=100; remaining=99; resets=41` */
const PAIRS = /^[a-z][a-z_-]{0,30}=[^=;,]{1,40}(?:[;,] ?[a-z][a-z_-]{0,30}=[^=;,]{1,40}){0,9}$/i;

/** What a pair is about: `usage=17/250(appName=sample)`. */
const IN_PARENTHESES = /\([^()]{0,64}\)/g;

type CountRole = 'limit' | 'remaining' | 'used';

/** The headers of one family that concern one bucket, with their values by position. */
interface Group {
  readonly family: string;
  readonly bucket: string;
  /** Whether all of its headers are weak. */
  isWeak: boolean;
  readonly counts: Record<CountRole, readonly CountValue[] | undefined>;
  /** The header of each of the counts. */
  readonly headers: Record<CountRole, string>;
  readonly resets: Record<'reset' | 'resetAfter', readonly Reset[] | undefined>;
  names: readonly string[];
  periodMs: number | undefined;
  statedLimit: number | undefined;
}

/** Collects the headers of one answer, and makes budgets of them. */
export class BudgetGroups {
  readonly #groups: Group[] = [];

  /** Adds the value of one header. Returns false if the value is doubtful. */
  add(meaning: NameMeaning, name: string, text: string): boolean {
    // A name without a role concerns no budget, unless its value states roles.
    if (meaning.role === 'members' && pairsIn(text).length === 0) return true;
    return addTo(this.#groupOf(meaning), meaning, name, text);
  }

  /** The budgets in the order of their headers. Adds headers that contradict each other to `doubtful`. */
  budgets(doubtful: string[]): ReportedBudget[] {
    const budgets: ReportedBudget[] = [];
    for (const group of completed(this.#groups)) addBudgets(group, budgets, doubtful);
    return budgets;
  }

  /** Some APIs have a `…-retry-after` among their rate headers; it is the wait if no reset says it. */
  get wait(): Reset | undefined {
    if (this.#groups.some(({ resets }) => resets.reset !== undefined)) return undefined;
    for (const { counts, resets } of this.#groups) {
      const isAlone = (counts.limit ?? counts.remaining ?? counts.used) === undefined;
      if (isAlone && resets.resetAfter !== undefined) return resets.resetAfter[0];
    }
    return undefined;
  }

  #groupOf({ family, bucket, isWeak }: NameMeaning): Group {
    const known = this.#groups.find((group) => group.family === family && group.bucket === bucket);
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
      statedLimit: undefined,
    };
    this.#groups.push(group);
    return group;
  }
}

/** Adds the value of one header. Returns false if the value is doubtful. */
function addTo(group: Group, meaning: NameMeaning, name: string, text: string): boolean {
  const { role, unitMs } = meaning;
  group.periodMs ??= meaning.periodMs;
  group.statedLimit ??= meaning.statedLimit;
  group.isWeak &&= meaning.isWeak;
  switch (role) {
    case 'limit':
    case 'remaining':
    case 'used': {
      const values = text.startsWith('{') ? undefined : readCountValues(text);
      if (values !== undefined) {
        addCounts(group, role, name, values);
        return true;
      }
      // Some frameworks report the length of the period there: `15m`.
      const periodMs = role === 'limit' ? parseDuration(text) : undefined;
      if (periodMs === undefined) return readMembers(group, text);
      group.periodMs ??= periodMs;
      return true;
    }
    case 'reset':
    case 'resetAfter': {
      const resets = readResets(text, (one) => readInUnit(one, meaning, readReset));
      if (resets !== undefined) group.resets[role] ??= resets;
      return resets !== undefined;
    }
    case 'interval': {
      const ms = /^\d{1,12}$/.test(text) ? Number(text) * (unitMs ?? 1000) : parseDuration(text);
      if (ms !== undefined && ms > 0) group.periodMs = ms;
      return ms !== undefined;
    }
    case 'bucket':
      group.names = text.split(',', MAX_NAMES).map((one) => one.trim().slice(0, 64));
      return true;
    case 'members':
      // Such a name may as well hold something else, such as the rule that applied.
      readMembers(group, text);
      return true;
    case 'scope':
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

/**
 * Reads a value that states the roles itself: `{"limit":100,"remaining":99}`, or
 * `total=100; remaining=99`. Returns whether it could be read.
 */
function readMembers(group: Group, text: string): boolean {
  if (text.length > MAX_LENGTH) return false;
  let found = false;
  for (const [key, value] of text.startsWith('{') ? jsonEntries(text) : pairsIn(text)) {
    const meaning = meaningOf(`ratelimit-${key.toLowerCase()}`);
    const isPlain = typeof value === 'number' || typeof value === 'string';
    if (meaning === undefined || meaning.bucket !== '' || !isPlain) continue;
    const one = String(value);
    if (!one.startsWith('{') && addTo(group, meaning, key, one)) found = true;
  }
  return found;
}

function pairsIn(text: string): [string, string][] {
  const plain = text.replace(IN_PARENTHESES, '');
  if (!PAIRS.test(plain)) return [];
  return plain.split(/[;,]/).map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
  });
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
  const members = membersOf(text);
  if (members === undefined) return undefined;
  const resets: Reset[] = [];
  for (const member of members) {
    const reset = read(member);
    if (reset === undefined) return undefined;
    resets.push(reset);
  }
  return resets;
}

/**
 * Returns the groups that are budgets. Some are completed by another group of their family: headers that
 * name no bucket belong to its only named bucket, and a limit alone belongs to the count without a name.
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
    const isPair = counts.limit !== undefined && (counts.remaining ?? counts.used) !== undefined;
    if (group.isWeak && !isPair) continue;
    const isTime = bucket === '' && isPart && counts.limit === undefined;
    if (isTime && spreadReset(group, relatives)) continue;
    whole.push(group);
  }
  return whole;
}

/**
 * Adds a reset that names no bucket to those buckets of its family that have no reset and no period.
 * Returns whether there is any.
 */
function spreadReset({ resets: { reset } }: Group, relatives: readonly Group[]): boolean {
  if (reset === undefined) return false;
  const without = relatives.filter(({ resets, periodMs }) => {
    return (resets.reset ?? resets.resetAfter ?? periodMs) === undefined;
  });
  for (const { resets } of without) resets.reset = reset;
  return without.length > 0;
}

/** Adds the budgets of a group: one, or one for each position. */
function addBudgets(group: Group, budgets: ReportedBudget[], doubtful: string[]): void {
  const { counts, headers, resets, names, bucket, periodMs, statedLimit } = group;
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
    const limit = counts.limit?.[at]?.count ?? (size === 1 ? statedLimit : undefined);
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
