import { parseDuration } from '../util/duration.ts';
import {
  hasFraction,
  looksLikeIsoTimestamp,
  readHttpDate,
  readIsoTimestamp,
  readJsDate,
} from './timestamps.ts';

/** The value of a reset: an instant on the API's clock, or a delay that begins with the answer. */
export type Reset =
  | {
      readonly kind: 'instant';
      /** Milliseconds since 1970, UTC, on the API's clock. */
      readonly atMs: number;
      /** The resolution of the timestamp: 1000 for whole seconds, 0 if it has a fraction. */
      readonly resolutionMs: number;
    }
  | {
      readonly kind: 'delay';
      readonly afterMs: number;
      /** The resolution of the delay: 1000 for whole seconds, 1 for thousandths. */
      readonly resolutionMs: number;
      /** The value was a plain number, which was taken for seconds: see reset-unit.ts. */
      readonly isPlainNumber?: true;
    };

/**
 * The range of plausible instants: 2001-09-09 to 2286-11-20. In it milliseconds since 1970 have
 * thirteen digits and seconds since 1970 have ten. Other values are mistakes or have another unit.
 */
const PLAUSIBLE_MS = { from: 1e12, before: 1e13 };
/** No budget takes longer than a year to refill. */
const MAX_DELAY_MS = 366 * 86_400_000;
/** Longer than any valid form; it bounds the work on a hostile value. */
const MAX_LENGTH = 80;
const WHOLE_SECONDS_MS = 1000;

const MINUTE_MS = 60_000;

const MINUTE_ONLY = /^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(Z|z|[+-]\d\d(?::?\d\d)?)?$/;
const NUMBER = /^\d+(?:\.\d+)?$/;

/**
 * Reads the value of a reset header, by its form and, for plain numbers, by its magnitude:
 *
 * - A number of up to a year is seconds from now, one of 10 digits is seconds since 1970, and one
 *   of 13 digits is milliseconds since 1970. Each may have a fraction. These ranges do not overlap.
 * - `6m0s`, `12ms`: a duration from now.
 * - `2017-11-02T12:31:28.675446`: an ISO 8601 timestamp ({@link readIsoTimestamp}).
 * - `2017-11-02T12:31Z`: the same to the minute.
 * - `Thu, 02 Nov 2017 12:31:28 GMT`: an HTTP-date ({@link readHttpDate}).
 * - `Thu Nov 02 2017 12:31:28 GMT+0000 (…)`: a date as JavaScript prints it.
 *
 * Returns `undefined` for all other texts, for dates that do not exist, and for implausible times.
 */
export function readReset(text: string): Reset | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  if (looksLikeIsoTimestamp(text)) return isoInstant(text);
  if (NUMBER.test(text)) return byMagnitude(Number(text), resolutionOf(text));
  const durationMs = parseDuration(text);
  if (durationMs !== undefined) return delay(durationMs, resolutionOf(text));
  return instant(readHttpDate(text) ?? readJsDate(text), false);
}

/** Reads an ISO timestamp; some APIs leave the seconds out. */
function isoInstant(text: string): Reset | undefined {
  const [, minute, zone] = MINUTE_ONLY.exec(text) ?? [];
  if (minute === undefined) return instant(readIsoTimestamp(text), hasFraction(text));
  const reset = instant(readIsoTimestamp(`${minute}:00${zone ?? ''}`), false);
  return reset && { ...reset, resolutionMs: MINUTE_MS };
}

/**
 * Reads a Retry-After: seconds, with a fraction or without, or an HTTP-date (RFC 9110 §10.2.3). Some
 * APIs send an ISO timestamp.
 */
export function readRetryAfter(text: string): Reset | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  if (NUMBER.test(text)) return delay(Number(text) * 1000, resolutionOf(text));
  if (looksLikeIsoTimestamp(text)) return isoInstant(text);
  return instant(readHttpDate(text), false);
}

/** The delay of a number of seconds; `undefined` if it is implausibly long. */
export function delayOfSeconds(seconds: number): Reset | undefined {
  return delay(seconds * 1000, resolutionOf(String(seconds)));
}

/** The unit of a plain number, if it is known, in milliseconds, and whether the number counts from 1970. */
export interface NumberUnit {
  readonly unitMs: number | undefined;
  readonly isSinceEpoch: boolean;
}

/** Reads a plain number in its unit, if that is known, and any other text with `read`. */
export function readInUnit(
  text: string,
  { unitMs, isSinceEpoch }: NumberUnit,
  read: (text: string) => Reset | undefined,
): Reset | undefined {
  if (unitMs === undefined || text.length > MAX_LENGTH || !NUMBER.test(text)) return read(text);
  const resolutionMs = (resolutionOf(text) * unitMs) / WHOLE_SECONDS_MS;
  if (isSinceEpoch) return instant(Number(text) * unitMs, resolutionMs < WHOLE_SECONDS_MS);
  // A delay that is implausibly long is no delay: some names in milliseconds hold a time since 1970.
  return delay(Number(text) * unitMs, resolutionMs) ?? read(text);
}

/** The value of the last digit in milliseconds: what follows it was cut off or rounded. */
function resolutionOf(text: string): number {
  const unitMs = text.endsWith('ms') ? 1 : WHOLE_SECONDS_MS;
  const [, digits = ''] = /\.(\d+)/.exec(text) ?? [];
  return unitMs / 10 ** digits.length;
}

function byMagnitude(value: number, resolutionMs: number): Reset | undefined {
  if (value * 1000 <= MAX_DELAY_MS) {
    return { kind: 'delay', afterMs: value * 1000, resolutionMs, isPlainNumber: true };
  }
  const isFine = resolutionMs < WHOLE_SECONDS_MS;
  if (value < PLAUSIBLE_MS.before / 1000) return instant(value * 1000, isFine);
  return instant(value, true);
}

function delay(afterMs: number, resolutionMs: number): Reset | undefined {
  if (!(afterMs >= 0 && afterMs <= MAX_DELAY_MS)) return undefined;
  return { kind: 'delay', afterMs, resolutionMs };
}

function instant(atMs: number | undefined, isFine: boolean): Reset | undefined {
  const isPlausible = atMs !== undefined && atMs >= PLAUSIBLE_MS.from && atMs < PLAUSIBLE_MS.before;
  if (!isPlausible) return undefined;
  return { kind: 'instant', atMs, resolutionMs: isFine ? 0 : WHOLE_SECONDS_MS };
}
