import { digits, utcMs } from './calendar.ts';

const DASH = 45;
const DOT = 46;
const COLON = 58;
/** Where the fraction begins, its point included. */
const FRACTION_AT = 19;

/** Whether `text` begins with a year as only ISO 8601 spells it; says nothing of the rest. */
export function looksLikeIsoStamp(text: string): boolean {
  return text.charCodeAt(4) === DASH;
}

/** Whether the stamp, if it is one, is finer than a second. */
export function hasFraction(text: string): boolean {
  return text.charCodeAt(FRACTION_AT) === DOT;
}

/**
 * Reads a date and time of ISO 8601, in milliseconds since 1970 with the microseconds behind the
 * point: `2017-11-02T12:31:28.675446`, with T or a space, with one to nine decimals or none, and with
 * `Z`, an offset such as `-03:00`, or no zone. Without a zone it is UTC, never the host's zone.
 *
 * Gives `undefined` for everything else, also for what no calendar has. It is scanned by position:
 * this is on the path of every answer, and a regular expression takes several times as long.
 */
export function readIsoStamp(text: string): number | undefined {
  if (!looksLikeIsoStamp(text) || text.charCodeAt(7) !== DASH) return undefined;
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

/** Minutes ahead of UTC: `Z`, `+01:00`, `+0100` or `+01` from `from` to the end; 0 for nothing. */
function readZone(text: string, from: number): number | undefined {
  if (text.length === from) return 0;
  const zone = text.slice(from);
  if (zone === 'Z' || zone === 'z') return 0;
  const spelling = /^([+-])(\d\d)(?::?(\d\d))?$/.exec(zone);
  if (spelling === null) return undefined;
  const [, sign, hours, minutes = '0'] = spelling;
  const offset = Number(hours) * 60 + Number(minutes);
  // No zone is further than 14 hours from UTC.
  if (Number(minutes) > 59 || offset > 14 * 60) return undefined;
  return sign === '-' ? -offset : offset;
}
