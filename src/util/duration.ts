const UNIT_MS = new Map([
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]);

/** A century: a longer duration is a mistake, and up to here the sum is exact. */
const MAX_MS = 100 * 365.25 * 86_400_000;
/** Longer than any valid duration; it bounds the work on a hostile text. */
const MAX_LENGTH = 64;

const DURATION = /^(?:\d+[dhms]+)*\d+(?:\.\d+)?[dhms]+$/;
const PART = /([\d.]+)([dhms]+)/g;
const SECONDS = /^\d+(?:\.\d+)?$/;

/**
 * Reads a duration, in milliseconds: `250ms`, `45s`, `2m`, `1h`, `1d`, `1m30s`, `7.66s` or `0`.
 *
 * Units are in descending order, each at most once; only the last number may have a fraction.
 * Returns `undefined` for all other texts, since the author may have meant something else: a number
 * without a unit (except `0`), a sign, a space, an unknown unit, or more than a century.
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text.length > MAX_LENGTH || !DURATION.test(text)) return undefined;
  let total = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const [, amount, unit = ''] of text.matchAll(PART)) {
    const unitMs = UNIT_MS.get(unit);
    if (unitMs === undefined || unitMs >= smallest) return undefined;
    smallest = unitMs;
    total += Number(amount) * unitMs;
  }
  return bounded(total);
}

/**
 * Reads a plain number of seconds (`30`, `2.5`) or a duration ({@link parseDuration}), in
 * milliseconds. For values such as `Headgate-Max-Wait`, which are documented to be seconds if they
 * have no unit.
 */
export function parseSecondsOrDuration(text: string): number | undefined {
  if (text.length <= MAX_LENGTH && SECONDS.test(text)) return bounded(Number(text) * 1000);
  return parseDuration(text);
}

/** A duration as {@link parseDuration} reads it: `1m30s` for 90,000 ms. */
export function durationText(ms: number): string {
  let text = '';
  let rest = ms;
  for (const [unit, unitMs] of UNIT_MS) {
    const amount = unit === 'ms' ? rest : Math.floor(rest / unitMs);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * unitMs;
  }
  return text === '' ? '0' : text;
}

function bounded(ms: number): number | undefined {
  // Rounds to nanoseconds, so that 1.1 s is 1100 ms and not 1100.0000000000002.
  return ms <= MAX_MS ? Math.round(ms * 1e6) / 1e6 : undefined;
}
