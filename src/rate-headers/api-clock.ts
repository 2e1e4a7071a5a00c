import type { OffsetBounds } from '../budget/observation.ts';

/** One answer's `Date`, with when its request was sent and when its headers were received. */
export interface DateReading {
  /** Milliseconds since 1970, in whole seconds: the API cut off the fraction. */
  readonly dateMs: number;
  /** On our clock, in milliseconds. */
  readonly sentAt: number;
  /** On our clock, in milliseconds. */
  readonly receivedAt: number;
}

/** How fast two working clocks may drift apart: 100 ppm, twice that of an ordinary crystal. */
const DRIFT = 1e-4;
/** Without a `Date` header both clocks are assumed to differ by at most this. */
const UNKNOWN_MS = 1000;

/**
 * Estimates the offset of the API's clock from ours, as an interval, from `Date` headers.
 *
 * A `Date` has whole seconds and was written after the request was sent and before the answer was
 * received. So one answer bounds the offset to `[date − receivedAt, date + 1 s − sentAt]`. The
 * intersection over many answers narrows to about one round trip. The interval widens with time, to
 * allow for drift. If it becomes empty, a clock was set, and it restarts from the latest answer.
 * See docs/decisions/0003.
 */
export class ApiClock {
  #low = 0;
  #high = 0;
  /** When the bounds were last exact, without drift; `undefined` before the first reading. */
  #asOf: number | undefined;

  /** Whether a `Date` header was ever received. */
  get known(): boolean {
    return this.#asOf !== undefined;
  }

  /** Adds one answer's `Date`. Not for answers from a cache: their `Date` is old. */
  observe({ dateMs, sentAt, receivedAt }: DateReading): void {
    const low = dateMs - receivedAt;
    const high = dateMs + 1000 - sentAt;
    const { low: knownLow, high: knownHigh } = this.bounds(receivedAt, 0);
    const isEmpty = Math.max(low, knownLow) > Math.min(high, knownHigh);
    const restarts = this.#asOf === undefined || isEmpty;
    this.#low = restarts ? low : Math.max(low, knownLow);
    this.#high = restarts ? high : Math.min(high, knownHigh);
    this.#asOf = Math.max(receivedAt, this.#asOf ?? receivedAt);
  }

  /**
   * The bounds of the offset at `now`. `wallMs` is the host's time: before the first `Date` header
   * the API's clock is assumed to show the same, within a second.
   */
  bounds(now: number, wallMs: number): OffsetBounds {
    if (this.#asOf === undefined) {
      return { low: wallMs - now - UNKNOWN_MS, high: wallMs - now + UNKNOWN_MS };
    }
    const drift = Math.max(0, now - this.#asOf) * DRIFT;
    return { low: this.#low - drift, high: this.#high + drift };
  }
}
