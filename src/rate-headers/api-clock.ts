import type { OffsetBounds } from '../budget/observation.ts';

/** One answer's `Date` header, and when its request went out and its headers came in. */
export interface DateReading {
  /** Milliseconds since 1970: a whole second, the API having cut off the fraction. */
  readonly dateMs: number;
  /** On our clock, in milliseconds. */
  readonly sentAt: number;
  /** On our clock, in milliseconds. */
  readonly receivedAt: number;
}

/** How far two good clocks may run apart: 100 ppm is twice what a plain crystal does. */
const DRIFT = 1e-4;
/** Without a `Date` header we take the clocks for equal, give or take this much. */
const UNKNOWN_MS = 1000;

/**
 * Learns the offset of the API's clock from ours, from `Date` headers.
 *
 * A `Date` has whole seconds and was written between our sending and our receiving, so one answer
 * bounds the offset to `[date − receivedAt, date + 1 s − sentAt]`. The intersection over many
 * answers narrows to about one round trip. It is widened for drift as time passes, and restarts
 * from the latest answer when it becomes empty: a clock was set.
 */
export class ApiClock {
  #low = 0;
  #high = 0;
  /** When the bounds were last true as they stand; `undefined` before the first reading. */
  #asOf: number | undefined;

  /** Whether a `Date` header was ever seen. */
  get known(): boolean {
    return this.#asOf !== undefined;
  }

  /** Takes one answer into account. Not for answers out of a cache: their `Date` is old. */
  observe({ dateMs, sentAt, receivedAt }: DateReading): void {
    const low = dateMs - receivedAt;
    const high = dateMs + 1000 - sentAt;
    const { low: knownLow, high: knownHigh } = this.bounds(receivedAt, 0);
    const empty = Math.max(low, knownLow) > Math.min(high, knownHigh);
    const restart = this.#asOf === undefined || empty;
    this.#low = restart ? low : Math.max(low, knownLow);
    this.#high = restart ? high : Math.min(high, knownHigh);
    this.#asOf = Math.max(receivedAt, this.#asOf ?? receivedAt);
  }

  /**
   * The interval at `now`. `wallMs` is what the host believes the time is: before the first `Date`
   * header the API is taken to believe the same, within a second.
   */
  bounds(now: number, wallMs: number): OffsetBounds {
    if (this.#asOf === undefined) {
      return { low: wallMs - now - UNKNOWN_MS, high: wallMs - now + UNKNOWN_MS };
    }
    const drift = Math.max(0, now - this.#asOf) * DRIFT;
    return { low: this.#low - drift, high: this.#high + drift };
  }
}
