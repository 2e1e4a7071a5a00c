import { parseDuration } from '../util/duration.ts';
import { readHttpDate } from './http-date.ts';
import { hasFraction, looksLikeIsoStamp, readIsoStamp } from './iso-stamp.ts';

/** When something happens: at a moment the API's clock names, or a while after the answer. */
export type Reset =
  | {
      readonly kind: 'instant';
      /** Milliseconds since 1970, UTC, on the API's clock. */
      readonly atMs: number;
      /** How coarse the stamp is: 1000 for whole seconds, 0 when it carries a fraction. */
      readonly resolutionMs: number;
    }
  | {
      readonly kind: 'delay';
      readonly afterMs: number;
      /** How coarse it is: 1000 for whole seconds, 1 for thousandths. */
      readonly resolutionMs: number;
    };

/**
 * The instants that a reset can name: 2001-09-09 to 2286-11-20, where epoch milliseconds have
 * thirteen digits and epoch seconds ten. Everything else is a mistake or another unit.
 */
const ERA_MS = { from: 1e12, before: 1e13 };
/** No budget takes longer than a year to come back. */
const MAX_DELAY_MS = 366 * 86_400_000;
/** Longer than any form below; bounds the work on a hostile value. */
const MAX_LENGTH = 64;
const WHOLE_SECONDS_MS = 1000;

const NUMBER = /^\d+(?:\.\d+)?$/;

/**
 * Reads the value of a reset header, by its shape and, for plain numbers, by its magnitude:
 *
 * - up to a year: seconds from now; 10 digits: seconds since 1970; 13 digits: milliseconds since
 *   1970. Each may have a fraction. Nothing lies between, so no number has two meanings.
 * - `6m0s`, `12ms`: a duration from now.
 * - `2017-11-02T12:31:28.675446`: ISO 8601 with T or a space, to the microsecond, with or without
 *   `Z` or an offset. Without one it is UTC.
 * - an HTTP-date.
 *
 * Gives `undefined` for anything else, for dates that do not exist, and for times out of all reason.
 */
export function readReset(text: string): Reset | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  if (looksLikeIsoStamp(text)) return instant(readIsoStamp(text), hasFraction(text));
  if (NUMBER.test(text)) return byMagnitude(Number(text), resolutionOf(text));
  const durationMs = parseDuration(text);
  if (durationMs !== undefined) return delay(durationMs, resolutionOf(text));
  return instant(readHttpDate(text), false);
}

/** Reads a Retry-After: seconds, with a fraction or without, or an HTTP-date (RFC 9110 §10.2.3). */
export function readRetryAfter(text: string): Reset | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  if (NUMBER.test(text)) return delay(Number(text) * 1000, resolutionOf(text));
  return instant(readHttpDate(text), false);
}

/** A whole number of seconds from now, when that is within reason. */
export function delayOfSeconds(seconds: number): Reset | undefined {
  return delay(seconds * 1000, WHOLE_SECONDS_MS);
}

/** How coarse a number of seconds is, or of milliseconds: its last digit is cut off or rounded. */
function resolutionOf(text: string): number {
  const unitMs = text.endsWith('ms') ? 1 : WHOLE_SECONDS_MS;
  const [, digits = ''] = /\.(\d+)/.exec(text) ?? [];
  return unitMs / 10 ** digits.length;
}

function byMagnitude(value: number, resolutionMs: number): Reset | undefined {
  if (value * 1000 <= MAX_DELAY_MS) return delay(value * 1000, resolutionMs);
  const fine = resolutionMs < WHOLE_SECONDS_MS;
  if (value < ERA_MS.before / 1000) return instant(value * 1000, fine);
  return instant(value, true);
}

function delay(afterMs: number, resolutionMs: number): Reset | undefined {
  if (!(afterMs >= 0 && afterMs <= MAX_DELAY_MS)) return undefined;
  return { kind: 'delay', afterMs, resolutionMs };
}

function instant(atMs: number | undefined, fine: boolean): Reset | undefined {
  if (atMs === undefined || !(atMs >= ERA_MS.from && atMs < ERA_MS.before)) return undefined;
  return { kind: 'instant', atMs, resolutionMs: fine ? 0 : WHOLE_SECONDS_MS };
}
