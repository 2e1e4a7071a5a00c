import { parseDuration } from '../util/duration.ts';

/** What the value of a count says: a number, and what some APIs write beside it. */
export interface CountValue {
  readonly count?: number;
  /** The second number of `32/40`. */
  readonly of?: number;
  /** The length of the period, in milliseconds. */
  readonly periodMs?: number;
}

/** The largest plausible count; some servers send 2^63 − 1 for "no limit". */
export const MAX_COUNT = 1e12;
/** A longer value that is not a plain number is rejected: it bounds the work on a hostile one. */
export const MAX_LENGTH = 1024;

const NUMBER = /^\d{1,15}(?:\.\d{1,9})?$/;
const POLICY = /^(\d{0,15})(?:; ?[a-z][a-z0-9_.-]*=[^,;]+)+$/;
const WINDOW = /; ?w=(\d{1,9})(?:;|$)/;
const OF = /^(\d{1,15})\/(\d{1,15})$/;
const PER = /^(\d{1,15})\/(?:(\d{1,9})?([a-z]{1,8}))$/;
const WITHIN = /^(\d{1,15}):(\d{1,9})$/;
const LIST = /^\d{1,15}(?:\/\d{1,15}){2,8}$/;
const UNITS = new Map([
  ['s', 's'],
  ['sec', 's'],
  ['second', 's'],
  ['m', 'm'],
  ['min', 'm'],
  ['minute', 'm'],
  ['h', 'h'],
  ['hour', 'h'],
  ['d', 'd'],
  ['day', 'd'],
]);

/** A plain count, rounded down: a part of an operation cannot be spent. */
export function readCount(text: string): number | undefined {
  if (!NUMBER.test(text)) return undefined;
  const value = Math.floor(Number(text));
  return value <= MAX_COUNT ? value : undefined;
}

/**
 * Reads one count: `80`, `594.0`, `100;w=60`, `600/15m`, `32/40` (32 of 40), `100:120` (in 120
 * seconds). A value that has only parameters (`;w=60`) says nothing of the count,
 * which is not doubtful. Returns `undefined` for all other texts.
 */
function readCountValue(text: string): CountValue | undefined {
  const plain = readCount(text);
  if (plain !== undefined) return { count: plain };
  const policy = POLICY.exec(text);
  if (policy !== null) return withPeriod(policy[1] ?? '', secondsIn(WINDOW.exec(text)?.[1]));
  const [, part, whole] = OF.exec(text) ?? [];
  if (part !== undefined && whole !== undefined) {
    const [count, of] = [readCount(part), readCount(whole)];
    return count === undefined || of === undefined ? undefined : { count, of };
  }
  const [, amount, times = '1', unit = ''] = PER.exec(text) ?? [];
  if (amount !== undefined) {
    const periodMs = parseDuration(`${times}${UNITS.get(unit) ?? '?'}`);
    return periodMs === undefined ? undefined : withPeriod(amount, periodMs);
  }
  const [, within, seconds] = WITHIN.exec(text) ?? [];
  return within === undefined ? undefined : withPeriod(within, secondsIn(seconds));
}

/**
 * Splits a value that lists several: `600,30000`, or three and more as `300/3000/12000`. Returns
 * `undefined` for a single one.
 */
export function membersOf(text: string): readonly string[] | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  if (LIST.test(text)) return text.split('/');
  return text.includes(',') ? text.split(',').map((member) => member.trim()) : undefined;
}

/**
 * Reads the counts of a header, by position: a header that was sent in several lines, or that lists
 * the values of several limits (`600,30000`). Equal values are one, sent by an API and its edge.
 * The policies that may follow a limit (`100, 100;w=60, 5000;w=3600`, IETF drafts up to 06, and
 * Envoy) belong to it and are no further limits. Returns `undefined` if any value is doubtful.
 */
export function readCountValues(text: string): readonly CountValue[] | undefined {
  const single = readCountValue(text);
  if (single !== undefined) return [single];
  const members = membersOf(text);
  if (members === undefined) return undefined;
  const [first = '', ...others] = members;
  if (others.every((other) => other === first || POLICY.test(other))) {
    const value = readCountValue(first);
    return value === undefined ? undefined : [value];
  }
  const values: CountValue[] = [];
  for (const member of members) {
    const value = readCountValue(member);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values;
}

function withPeriod(digits: string, periodMs: number | undefined): CountValue | undefined {
  const count = digits === '' ? undefined : readCount(digits);
  if (count === undefined && digits !== '') return undefined;
  return {
    ...(count === undefined ? {} : { count }),
    ...(periodMs === undefined || periodMs === 0 ? {} : { periodMs }),
  };
}

function secondsIn(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits) * 1000;
}

/** Reads a value that was sent several times, such as by the API and its edge, if all are equal. */
export function readRepeated<T>(
  text: string,
  parse: (text: string) => T | undefined,
): T | undefined {
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
