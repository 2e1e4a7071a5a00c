/**
 * What one answer reports of a budget, as the model needs it. Times are in milliseconds, each the latest
 * possible; all but the reset are on our clock.
 */
export interface Observation {
  /** 429 for a request that the API throttled, whatever its own status was. */
  readonly status: number;
  readonly limit?: number;
  readonly remaining?: number;
  /** How many operations the call cost, if the answer reports it. */
  readonly cost?: number;
  /** The latest time of the reset, on the clock that {@link basis} names. */
  readonly resetAt?: number;
  readonly basis: Basis;
  /**
   * The reset on the API's own clock, where `resetAt` is on another one. It orders answers more
   * exactly.
   */
  readonly stamp?: number;
  /**
   * Resets that differ by no more than this are the same reset. Resets that an API reports as delays
   * differ by rounding and travel time.
   */
  readonly sameWithinMs: number;
  /** The latest time at which the API's Retry-After ends, on our clock. */
  readonly retryAt?: number;
  /** How much earlier than `resetAt` the reset may be. */
  readonly uncertaintyMs: number;
  readonly receivedAt: number;
}

/**
 * How an API reports its resets. An `instant` is a time on the API's clock, which is converted when
 * it is used, with the offset known by then. A `delay` counts from the answer, on our clock.
 */
export type Basis = 'instant' | 'delay';

/** The API's clock minus ours, in milliseconds, as an interval that contains the true offset. */
export interface OffsetBounds {
  readonly low: number;
  readonly high: number;
}
