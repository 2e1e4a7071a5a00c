const DAY_MS = 86_400_000;
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** A date and time of day as a header spells them; a part that could not be read is `NaN`. */
export interface DateParts {
  readonly year: number;
  /** From 1. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

/**
 * Milliseconds since 1970 of a date and time that is `offsetMinutes` ahead of UTC.
 *
 * Gives `undefined` for what no calendar has, such as 30 February, 24:00:00 or a second 60 that is
 * not the last one of a UTC day, and for years before 1970. Never asks for the host's zone.
 */
export function utcMs(parts: DateParts, offsetMinutes = 0): number | undefined {
  const { year, month, day, hour, minute, second } = parts;
  // Each test is written so that a NaN fails it.
  if (!(year >= 1970 && day >= 1 && day <= daysIn(year, month))) return undefined;
  if (!(hour <= 23 && minute <= 59 && second <= 60)) return undefined;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second) - offsetMinutes * 60_000;
  return second === 60 && ms % DAY_MS !== 0 ? undefined : ms;
}

/** The number that the digits of `text` in `[from, to)` spell; `NaN` if one is not a digit. */
export function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    // Beyond the end charCodeAt gives NaN, which fails the test as well.
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

/** Not a number of days, but 0, for a month that does not exist. */
function daysIn(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && leap ? 29 : (DAYS_IN_MONTH[month - 1] ?? 0);
}
