import { digits, utcMs } from './calendar.ts';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
/** 1970 began on the first of these. */
const WEEKDAYS = ['Thursday', 'Friday', 'Saturday', 'Sunday', 'Monday', 'Tuesday', 'Wednesday'];
const DAY_MS = 86_400_000;
const COMMA = 44;
const SPACE = 32;

const RFC_850 = /^(\w{6,9}), (\d\d)-(\w{3})-(\d\d) (\d\d:\d\d:\d\d) (?:GMT|UTC)$/;
const ASCTIME = /^(\w{3}) (\w{3}) ([ \d]\d) (\d\d:\d\d:\d\d) (\d{4})$/;

/**
 * Reads an HTTP-date (RFC 9110 §5.6.7), in milliseconds since 1970.
 *
 * All three forms are read, as the RFC asks of recipients: `Sun, 06 Nov 1994 08:49:37 GMT`,
 * `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. `UTC` passes for `GMT`, which
 * some servers write. Gives `undefined` for everything else, also for dates that do not exist,
 * contradict their own weekday or lie before 1970.
 */
export function readHttpDate(value: string): number | undefined {
  return value.charCodeAt(3) === COMMA ? readImfFixdate(value) : readObsolete(value);
}

/** Reads as {@link readHttpDate} does, and remembers the last value: a busy API repeats it. */
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

/** `Sun, 06 Nov 1994 08:49:37 GMT`, by position: the `Date` of every answer is read here. */
function readImfFixdate(value: string): number | undefined {
  const shaped =
    value.length === 29 &&
    value.charCodeAt(4) === SPACE &&
    value.charCodeAt(7) === SPACE &&
    value.charCodeAt(11) === SPACE &&
    value.charCodeAt(16) === SPACE &&
    (value.endsWith(' GMT') || value.endsWith(' UTC'));
  if (!shaped) return undefined;
  const [year, month, day] = [digits(value, 12, 16), value.slice(8, 11), digits(value, 5, 7)];
  return momentOn(value.slice(0, 3), year, month, day, value.slice(17, 25));
}

function readObsolete(value: string): number | undefined {
  const rfc850 = RFC_850.exec(value);
  if (rfc850 !== null) {
    const [, weekday = '', day, month = '', yearOfCentury, time = ''] = rfc850;
    // The RFC has the century depend on today. No clock that we ask shows a date before 1970.
    const year = Number(yearOfCentury) + (Number(yearOfCentury) >= 70 ? 1900 : 2000);
    return momentOn(weekday, year, month, Number(day), time);
  }
  const [, weekday = '', month = '', day, time = '', year] = ASCTIME.exec(value) ?? [];
  return momentOn(weekday, Number(year), month, Number(day), time);
}

/** The moment of that day at `time` (`08:49:37`), if the day exists and was such a weekday. */
function momentOn(
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
  // A leap second is counted to the next day, but named after the day that it ends.
  const days = Math.floor((second === 60 ? ms - 1 : ms) / DAY_MS);
  const name = WEEKDAYS[days % 7] ?? '';
  return weekday === name || (weekday.length === 3 && name.startsWith(weekday)) ? ms : undefined;
}
