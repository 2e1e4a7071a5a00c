/** What one header says of a budget. */
export type Role =
  | 'limit'
  | 'remaining'
  | 'used'
  | 'reset'
  /** A delay until the reset, for answers without a reset. */
  | 'resetAfter'
  /** The length of the period. */
  | 'interval'
  /** The name of the bucket that the other headers of its family concern. */
  | 'bucket'
  /** The name of the bucket that refused the request, which may be another than the others report. */
  | 'scope'
  /** The name has no role. Its value may state several: `total=100; remaining=99`. */
  | 'members'
  /** An instruction to wait, outside of any family. */
  | 'retryAfter';

/** What the words of a header's name mean. */
export interface NameMeaning {
  readonly role: Role;
  /** Headers of one family belong together: the same words stand before the limit's name. */
  readonly family: string;
  /** The words that name the bucket; empty for the one of requests. */
  readonly bucket: string;
  /** The length of the bucket's period, if its words state it, in milliseconds. */
  readonly periodMs: number | undefined;
  /** The bucket's limit, if it is declared for answers that do not report it. */
  readonly statedLimit: number | undefined;
  /** The unit of a plain number, if the name states it, in milliseconds. */
  readonly unitMs: number | undefined;
  /** Whether such a number counts from 1970, and not from the answer. */
  readonly isSinceEpoch: boolean;
  /** The name alone may mean something else; it counts only beside the rest of its family. */
  readonly isWeak: boolean;
}

/** Longer than any name in use; it bounds the work on a hostile one. */
const MAX_LENGTH = 100;
const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const ROLES = new Map<string, Role>([
  ['limit', 'limit'],
  ['limits', 'limit'],
  ['max', 'limit'],
  ['maximum', 'limit'],
  ['quota', 'limit'],
  ['total', 'limit'],
  ['allowed', 'limit'],
  ['remaining', 'remaining'],
  ['remain', 'remaining'],
  ['left', 'remaining'],
  ['available', 'remaining'],
  ['used', 'used'],
  ['usage', 'used'],
  ['consumed', 'used'],
  ['count', 'used'],
  ['reset', 'reset'],
  ['resets', 'reset'],
  ['next', 'reset'],
  ['until', 'reset'],
  ['expire', 'reset'],
  ['interval', 'interval'],
  ['window', 'interval'],
  ['period', 'interval'],
  ['duration', 'interval'],
]);

/** How names without a mark end that count as a pair: `x-vendor-limit`, `x-vendor-remaining`. */
const PAIRED: ReadonlySet<string> = new Set(['limit', 'remaining', 'left', 'reset']);

/** Of several roles in one name the first of these counts: `limit-remaining`, `time-reset`. */
const PRECEDENCE: readonly Role[] = ['reset', 'remaining', 'used', 'interval', 'limit'];

const BUCKET_NAMES: ReadonlySet<string> = new Set([
  'bucket',
  'resource',
  'group',
  'policy',
  'category',
  'name',
]);

const UNITS_MS = new Map([
  ['ms', 1],
  ['msec', 1],
  ['millis', 1],
  ['milliseconds', 1],
  ['s', SECOND_MS],
  ['sec', SECOND_MS],
  ['secs', SECOND_MS],
  ['seconds', SECOND_MS],
  ['minutes', MINUTE_MS],
  ['hours', HOUR_MS],
]);

/** Words for periods, with the bucket that they name. */
const PERIODS = new Map<string, readonly [name: string, ms: number]>([
  ['second', ['second', SECOND_MS]],
  ['secondly', ['second', SECOND_MS]],
  ['1s', ['second', SECOND_MS]],
  ['min', ['minute', MINUTE_MS]],
  ['minute', ['minute', MINUTE_MS]],
  ['minutely', ['minute', MINUTE_MS]],
  ['1m', ['minute', MINUTE_MS]],
  ['hour', ['hour', HOUR_MS]],
  ['hourly', ['hour', HOUR_MS]],
  ['1h', ['hour', HOUR_MS]],
  ['day', ['day', DAY_MS]],
  ['daily', ['day', DAY_MS]],
  ['today', ['day', DAY_MS]],
  ['24hour', ['day', DAY_MS]],
  ['24h', ['day', DAY_MS]],
  ['1d', ['day', DAY_MS]],
]);

/** Words without a meaning of their own beside the others. */
const NOISE: ReadonlySet<string> = new Set([
  'after',
  'api',
  'at',
  'call',
  'calls',
  'date',
  'in',
  'info',
  'per',
  'request',
  'requests',
  'this',
  'time',
  'timestamp',
  'utc',
  'value',
]);

/** Limits that do not count operations, and flags: reading them would mistake the budget. */
const OTHER_LIMITS =
  /^(?:concurrent|concurrency|parallel|error|errors|near|bytes|bandwidth|size|upload|memory|storage|disk|pages?|pagination)$/;

const COMPOUND = /^([a-z\d]+?)(limit|remaining|remain|resettime|reset|used|left|max)$/;

/**
 * Reads the name of a header, in lower case, as words. Returns `undefined` for a name that says
 * nothing of a rate limit.
 *
 * APIs invent such names freely, but out of few words. One marks a rate limit (`ratelimit`,
 * `rate-limit`, `quota`, `call-limit`), one states the role (`limit`, `remaining`, `reset` …), and
 * units and noise aside, what is left after the mark names the bucket. The words before it are the
 * vendor's. docs/rate-headers.md lists dialects in use.
 */
export function meaningOf(name: string): NameMeaning | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  const words = name.split(/[-_]/);
  if (words[0] === 'http') words.shift();
  const retry = retryAfterIn(words);
  const mark = findMark(words);
  if (mark === undefined) {
    if (retry !== undefined) return { ...UNNAMED, role: 'retryAfter', unitMs: retry.unitMs };
    return weakMeaning(words);
  }
  const family = words.slice(0, mark.start + 1).join('-');
  if (retry !== undefined) return { ...UNNAMED, role: 'resetAfter', family, unitMs: retry.unitMs };
  const before = words.slice(0, mark.start).filter((word) => PERIODS.has(word));
  const after = words.slice(mark.end);
  // Without a mark, such a word has been seen to hold milliseconds.
  if (after.length === 1 && after[0] === 'retryafter') {
    return { ...UNNAMED, role: 'resetAfter', family };
  }
  if (after.length === 0) {
    return words[mark.start] === 'quota' ? undefined : named('limit', family, before, false);
  }
  const all = [...before, ...after.flatMap(splitCompound)];
  return meaningOfWords(family, all, false) ?? meaningWithoutRole(family, all);
}

const UNNAMED: NameMeaning = {
  role: 'limit',
  family: '',
  bucket: '',
  periodMs: undefined,
  statedLimit: undefined,
  unitMs: undefined,
  isSinceEpoch: false,
  isWeak: false,
};

function retryAfterIn(words: readonly string[]): { unitMs: number | undefined } | undefined {
  const at = words.indexOf('retry');
  if (at === -1 || words[at + 1] !== 'after') return undefined;
  return { unitMs: UNITS_MS.get(words[at + 2] ?? '') };
}

/** The words that mark a rate limit: where they start, and where they end. */
function findMark(words: readonly string[]): { start: number; end: number } | undefined {
  for (const [start, word] of words.entries()) {
    const next = words[start + 1] ?? '';
    if (/ratelimit(?:s|ing)?$/.test(word)) return { start, end: start + 1 };
    if (/^(?:rate|calls?)$/.test(word) && /^limit(?:s|ing)?$/.test(next)) {
      return { start, end: start + 2 };
    }
    if (/^calls?$/.test(word) && /^(?:remaining|left)$/.test(next)) {
      return { start, end: start + 1 };
    }
    if (word === 'limit' && next === 'info') return { start, end: start + 2 };
    if (word === 'quota') return { start, end: start + 1 };
  }
  return undefined;
}

/**
 * Reads names without a mark: `x-limit-per-second` beside `x-remaining-this-second`, `x-vendor-limit`
 * beside `x-vendor-remaining`, `x-minlimit-remaining`, and `x-app-limit-24hour-remaining`.
 */
function weakMeaning(all: readonly string[]): NameMeaning | undefined {
  const words = all[0] === 'x' ? all.slice(1) : all;
  const [first = ''] = words;
  if (first === 'limit' || first === 'remaining') {
    return words.some((word) => PERIODS.has(word)) ? meaningOfWords('', words, true) : undefined;
  }
  const limitAt = words.findIndex(
    (word, at) => word === 'limit' && PERIODS.has(words[at + 1] ?? ''),
  );
  if (limitAt > 0) return meaningOfWords('', words.toSpliced(limitAt, 1), true);
  const [name] = splitCompound(first);
  const isPair = name !== first && words.length === 2 && ROLES.get(words[1] ?? '') === 'remaining';
  if (isPair && name !== undefined) return named('remaining', '', [name], false);
  const isOneOfPair = words.length > 1 && PAIRED.has(words.at(-1) ?? '');
  return isOneOfPair ? meaningOfWords(words.slice(0, -1).join('-'), words, true) : undefined;
}

function splitCompound(word: string): string[] {
  if (ROLES.has(word)) return [word];
  const [, name, role] = COMPOUND.exec(word) ?? [];
  if (name === undefined || role === undefined) return [word === 'resettime' ? 'reset' : word];
  return [name, role === 'resettime' ? 'reset' : role];
}

function meaningOfWords(
  family: string,
  words: readonly string[],
  isWeak: boolean,
): NameMeaning | undefined {
  const [only = ''] = words;
  if (words.length === 1 && BUCKET_NAMES.has(only)) return named('bucket', family, [], isWeak);
  if (words.length === 1 && only === 'scope') return named('scope', family, [], isWeak);
  const roles = new Set(words.map((word) => ROLES.get(word)));
  const role = PRECEDENCE.find((one) => roles.has(one));
  if (role === undefined || words.some((word) => OTHER_LIMITS.test(word))) return undefined;
  const isAfter = role === 'reset' && words.some((word) => word === 'after' || word === 'in');
  return named(isAfter ? 'resetAfter' : role, family, words, isWeak);
}

/** The words name a budget, if the value has the roles. */
function meaningWithoutRole(family: string, words: readonly string[]): NameMeaning | undefined {
  return words.some((word) => ROLES.has(word) || OTHER_LIMITS.test(word))
    ? undefined
    : named('members', family, words, false);
}

function named(role: Role, family: string, words: readonly string[], isWeak: boolean): NameMeaning {
  const isTime = role === 'reset' || role === 'resetAfter' || role === 'interval';
  const bucket: string[] = [];
  let periodMs: number | undefined;
  let unitMs: number | undefined;
  for (const word of words) {
    const unit = isTime ? UNITS_MS.get(word) : undefined;
    const period = PERIODS.get(word);
    if (unit !== undefined) unitMs = unit;
    else if (period !== undefined) {
      bucket.push(period[0]);
      [, periodMs] = period;
    } else if (!ROLES.has(word) && !NOISE.has(word)) bucket.push(word);
  }
  return { ...UNNAMED, role, family, bucket: bucket.join('-'), periodMs, unitMs, isWeak };
}
