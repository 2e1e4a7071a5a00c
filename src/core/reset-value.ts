import type { Reset } from './rate-limit-headers.ts';

const INTEGER = /^\d{1,16}$/;
const DECIMAL = /^\d{1,16}\.\d{1,9}$/;
const ISO =
  /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(Z|z|[+-]\d{2}:?\d{2})?$/;
const GO_DURATION =
  /^(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?$/;
const IMF_FIXDATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const RFC_850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d{2})-(\w{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const ASCTIME =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A number up to here is a delay: 40 days of seconds, longer than any window known. */
const MOST_DELAY_S = 40 * 24 * 3600;
/** Epoch seconds lie between 2001 and 2100, epoch milliseconds likewise. */
const EPOCH_S = { first: 1_000_000_000, last: 4_102_444_800 };

/**
 * Reads when a limit resets, in any of the forms that APIs use, told apart by shape and magnitude:
 * ISO 8601 (without a zone it is UTC, never the host's), an HTTP date, epoch seconds or
 * milliseconds, seconds from now, or a duration such as `6m0s`. `undefined` on any doubt.
 */
export function readReset(value: string): Reset | undefined {
  const text = value.trim();
  if (INTEGER.test(text)) return readNumber(Number(text), 1000);
  if (DECIMAL.test(text)) return readNumber(Number(text), 0);
  return readIso(text) ?? readDuration(text) ?? readDate(text);
}

/** Reads Retry-After: seconds, perhaps with a fraction, or an HTTP date (RFC 9110 §10.2.3). */
export function readRetryAfter(value: string): Reset | undefined {
  const text = value.trim();
  const whole = INTEGER.test(text);
  if (!whole && !DECIMAL.test(text)) return readDate(text);
  const seconds = Number(text);
  if (seconds > MOST_DELAY_S) return undefined;
  return { kind: 'delay', afterMs: seconds * 1000, resolutionMs: whole ? 1000 : 0 };
}

/** Reads an HTTP date, the two obsolete forms included (RFC 9110 §5.6.7); ms since 1970. */
export function readHttpDate(value: string): number | undefined {
  const imf = IMF_FIXDATE.exec(value);
  if (imf !== null) {
    const [, day, month, year, hour, minute, second] = imf;
    return utc([year, monthNumber(month), day, hour, minute, second]);
  }
  const rfc850 = RFC_850.exec(value);
  if (rfc850 !== null) {
    const [, day, month, year, hour, minute, second] = rfc850;
    return utc([`20${year}`, monthNumber(month), day, hour, minute, second]);
  }
  const asctime = ASCTIME.exec(value);
  if (asctime === null) return undefined;
  const [, month, day, hour, minute, second, year] = asctime;
  return utc([year, monthNumber(month), day?.trim(), hour, minute, second]);
}

function readNumber(number: number, resolutionMs: number): Reset | undefined {
  if (number <= MOST_DELAY_S) return { kind: 'delay', afterMs: number * 1000, resolutionMs };
  if (number >= EPOCH_S.first && number <= EPOCH_S.last) {
    return { kind: 'instant', atMs: number * 1000, resolutionMs };
  }
  if (number >= EPOCH_S.first * 1000 && number <= EPOCH_S.last * 1000) {
    return { kind: 'instant', atMs: number, resolutionMs: 0 };
  }
  return undefined;
}

function readIso(text: string): Reset | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction, zone] = match;
  const whole = utc([year, month, day, hour, minute, second]);
  const zoneMs = readZone(zone);
  if (whole === undefined || zoneMs === undefined) return undefined;
  const fractionMs = fraction === undefined ? 0 : Number(`0.${fraction}`) * 1000;
  const resolutionMs = fraction === undefined ? 1000 : 0;
  return { kind: 'instant', atMs: whole + fractionMs - zoneMs, resolutionMs };
}

function readZone(zone: string | undefined): number | undefined {
  if (zone === undefined || zone === 'Z' || zone === 'z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(-2));
  if (hours > 14 || minutes > 59) return undefined;
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function readDuration(text: string): Reset | undefined {
  const match = GO_DURATION.exec(text);
  if (match === null || text === '') return undefined;
  const [, hours = '0', minutes = '0', seconds, millis] = match;
  const afterMs =
    Number(hours) * 3_600_000 +
    Number(minutes) * 60_000 +
    Number(seconds ?? 0) * 1000 +
    Number(millis ?? 0);
  if (afterMs > MOST_DELAY_S * 1000) return undefined;
  const fine = millis !== undefined || seconds?.includes('.') === true;
  return { kind: 'delay', afterMs, resolutionMs: fine ? 0 : 1000 };
}

function readDate(text: string): Reset | undefined {
  const atMs = readHttpDate(text);
  return atMs === undefined ? undefined : { kind: 'instant', atMs, resolutionMs: 1000 };
}

function monthNumber(name: string | undefined): string {
  return String(MONTHS.indexOf(name ?? '') + 1);
}

/** A moment in UTC, if there was such a day and time; a leap second counts as the next one. */
function utc(parts: readonly (string | undefined)[]): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.map(Number);
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 60) return undefined;
  const at = Date.UTC(year, month - 1, day, hour, minute, second);
  const midnight = new Date(Date.UTC(year, month - 1, day));
  const exists = midnight.getUTCDate() === day && midnight.getUTCMonth() === month - 1;
  return exists && year >= 1970 ? at : undefined;
}
