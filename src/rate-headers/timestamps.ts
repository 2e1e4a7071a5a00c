/**
 * Timestamps in headers: HTTP-dates and ISO 8601. Both are read strictly and without `Date.parse`,
 * which takes `5` for the year 2001 and reads a timestamp without a zone in the zone of the host.
 */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** Begins with the weekday of 1 January 1970. */
const WEEKDAYS = ['Thursday', 'Friday', 'Saturday', 'Sunday', 'Monday', 'Tuesday', 'Wednesday'];
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DAY_MS = 86_400_000;

const SPACE = 32;
const COMMA = 44;
const DASH = 45;
const DOT = 46;
const COLON = 58;

const RFC_850 = /^(\w{6,9}), (\d\d)-(\w{3})-(\d\d) (\d\d:\d\d:\d\d) (?:GMT|UTC)$/;
const ASCTIME = /^(\w{3}) (\w{3}) ([ \d]\d) (\d\d:\d\d:\d\d) (\d{4})$/;

const JS_DATE =
  /^\w{3} (\w{3}) (\d\d) (\d{4}) (\d\d):(\d\d):(\d\d) GMT([+-]\d{4})(?: \([^()]{1,60}\))?$/;

/** Position of the decimal point in an ISO timestamp that has a fraction. */
const FRACTION_AT = 19;

/**
 * Reads an HTTP-date (RFC 9110 §5.6.7), in milliseconds since 1970.
 *
 * It reads all three forms, as the RFC requires of recipients: `Sun, 06 Nov 1994 08:49:37 GMT`,
 * `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. It accepts `UTC` for `GMT`,
 * since some servers write that. Returns `undefined` for all other texts, and for dates that do not
 * exist, that have the wrong weekday or that lie before 1970.
 */
export function readHttpDate(value: string): number | undefined {
  return value.charCodeAt(3) === COMMA ? readImfFixdate(value) : readObsoleteDate(value);
}

/** Makes a {@link readHttpDate} that caches the last value: a busy API repeats its `Date`. */
export function makeHttpDateReader(): (value: string) => number | undefined {
  let last = '';
  let lastMs: number | undefined;
  return (value) => {
    if (value !== last) {
      lastMs = readHttpDate(value);
      last = value;
    }
    return lastMs;
  };
}

/** Reads `Sun, 06 Nov 1994 08:49:37 GMT` by position, for speed: each answer has such a `Date`. */
function readImfFixdate(value: string): number | undefined {
  const hasShape =
    value.length === 29 &&
    value.charCodeAt(4) === SPACE &&
    value.charCodeAt(7) === SPACE &&
    value.charCodeAt(11) === SPACE &&
    value.charCodeAt(16) === SPACE &&
    (value.endsWith(' GMT') || value.endsWith(' UTC'));
  if (!hasShape) return undefined;
  const [year, month, day] = [digits(value, 12, 16), value.slice(8, 11), digits(value, 5, 7)];
  return weekdayDateMs(value.slice(0, 3), year, month, day, value.slice(17, 25));
}

function readObsoleteDate(value: string): number | undefined {
  const rfc850 = RFC_850.exec(value);
  if (rfc850 !== null) {
    const [, weekday = '', day, month = '', yearOfCentury, time = ''] = rfc850;
    // RFC 9110 derives the century from today's date. No date before 1970 is expected here.
    const year = Number(yearOfCentury) + (Number(yearOfCentury) >= 70 ? 1900 : 2000);
    return weekdayDateMs(weekday, year, month, Number(day), time);
  }
  const [, weekday = '', month = '', day, time = '', year] = ASCTIME.exec(value) ?? [];
  return weekdayDateMs(weekday, Number(year), month, Number(day), time);
}

/**
 * Reads a date as JavaScript prints it, in milliseconds since 1970:
 * `Thu Nov 02 2017 12:31:28 GMT+0100 (Central European Standard Time)`.
 */
export function readJsDate(text: string): number | undefined {
  const [, month = '', day, year, hour, minute, second, zone = ''] = JS_DATE.exec(text) ?? [];
  const offsetMinutes = readZone(zone, 0);
  if (offsetMinutes === undefined) return undefined;
  const parts = {
    year: Number(year),
    month: MONTHS.indexOf(month) + 1,
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
  };
  return utcMs(parts, offsetMinutes);
}

/** As {@link utcMs}, for a `time` such as `08:49:37`; `undefined` if the weekday is wrong. */
function weekdayDateMs(
  weekday: string,
  year: number,
  month: string,
  day: number,
  time: string,
): number | undefined {
  if (time.charAt(2) !== ':' || time.charAt(5) !== ':') return undefined;
  const second = digits(time, 6, 8);
  const ms = utcMs({
    year,
    month: MONTHS.indexOf(month) + 1,
    day,
    hour: digits(time, 0, 2),
    minute: digits(time, 3, 5),
    second,
  });
  if (ms === undefined) return undefined;
  // A leap second has the milliseconds of the next day, but the weekday of the day that it ends.
  const days = Math.floor((second === 60 ? ms - 1 : ms) / DAY_MS);
  const name = WEEKDAYS[days % 7] ?? '';
  return weekday === name || (weekday.length === 3 && name.startsWith(weekday)) ? ms : undefined;
}

/** Whether `text` begins with a year and a dash. It checks nothing else of the timestamp. */
export function looksLikeIsoTimestamp(text: string): boolean {
  return text.charCodeAt(4) === DASH;
}

/** Whether an ISO timestamp has a fraction of a second. */
export function hasFraction(text: string): boolean {
  return text.charCodeAt(FRACTION_AT) === DOT;
}

/**
 * Reads an ISO 8601 date and time, such as `2017-11-02T12:31:28.675446`, in milliseconds since
 * 1970. Microseconds become decimals of the result.
 *
 * The separator is T or a space. The fraction has one to nine digits or is absent. The zone is `Z`,
 * an offset such as `-03:00`, or absent; a timestamp without a zone is UTC, never the host's zone.
 * Returns `undefined` for all other texts and for dates that do not exist.
 *
 * It reads by position, since it may run for every answer and a regular expression takes several
 * times as long.
 */
export function readIsoTimestamp(text: string): number | undefined {
  if (!looksLikeIsoTimestamp(text) || text.charCodeAt(7) !== DASH) return undefined;
  if (text.charCodeAt(13) !== COLON || text.charCodeAt(16) !== COLON) return undefined;
  if (!'Tt '.includes(text.charAt(10))) return undefined;
  let end = FRACTION_AT;
  let fractionMs = 0;
  if (hasFraction(text)) {
    end++;
    while (digits(text, end, end + 1) >= 0) end++;
    const places = end - FRACTION_AT - 1;
    if (places < 1 || places > 9) return undefined;
    fractionMs = (digits(text, FRACTION_AT + 1, end) * 1000) / 10 ** places;
  }
  const offsetMinutes = readZone(text, end);
  if (offsetMinutes === undefined) return undefined;
  const parts = {
    year: digits(text, 0, 4),
    month: digits(text, 5, 7),
    day: digits(text, 8, 10),
    hour: digits(text, 11, 13),
    minute: digits(text, 14, 16),
    second: digits(text, 17, 19),
  };
  const wholeMs = utcMs(parts, offsetMinutes);
  return wholeMs === undefined ? undefined : wholeMs + fractionMs;
}

/** Reads the zone that begins at `from` (`Z`, `+01:00`, `+0100`, `+01` or none), in minutes. */
function readZone(text: string, from: number): number | undefined {
  if (text.length === from) return 0;
  const zone = text.slice(from);
  if (zone === 'Z' || zone === 'z') return 0;
  const offset = /^([+-])(\d\d)(?::?(\d\d))?$/.exec(zone);
  if (offset === null) return undefined;
  const [, sign, hours, minutes = '0'] = offset;
  const total = Number(hours) * 60 + Number(minutes);
  // No zone is more than 14 hours from UTC.
  if (Number(minutes) > 59 || total > 14 * 60) return undefined;
  return sign === '-' ? -total : total;
}

/** A date and time as a header spells it; a part that is not a number is `NaN`. */
interface DateParts {
  readonly year: number;
  /** 1 for January. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

/**
 * Milliseconds since 1970 of a date and time in a zone that is `offsetMinutes` ahead of UTC.
 *
 * Returns `undefined` for years before 1970 and for times that do not exist, such as 30 February,
 * 24:00:00, or a second 60 that is not the last of a UTC day.
 */
function utcMs(parts: DateParts, offsetMinutes = 0): number | undefined {
  const { year, month, day, hour, minute, second } = parts;
  // Each condition is written so that it is false for NaN.
  if (!(year >= 1970 && day >= 1 && day <= daysIn(year, month))) return undefined;
  if (!(hour <= 23 && minute <= 59 && second <= 60)) return undefined;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second) - offsetMinutes * 60_000;
  return second === 60 && ms % DAY_MS !== 0 ? undefined : ms;
}

/** The number of days in a month; 0 for a month that does not exist. */
function daysIn(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && isLeap ? 29 : (DAYS_IN_MONTH[month - 1] ?? 0);
}

/** The number that the digits in `[from, to)` of `text` represent; `NaN` if one is no digit. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    // After the end of the text charCodeAt returns NaN, which is rejected too.
    const digit = text.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}
