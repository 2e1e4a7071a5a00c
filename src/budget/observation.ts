/**
 * The clock on which an API reports its resets. An `instant` is a moment on the API's clock, which
 * we convert when we use it, with what we know by then; a `delay` counts from the answer, on ours.
 */
export type Basis = 'instant' | 'delay';

/** An answer as the bucket model needs it: every time on one clock, each at its latest. */
export interface Observation {
  readonly status: number;
  readonly limit?: number;
  readonly remaining?: number;
  /** The latest the reset can be, on the clock that {@link basis} names. */
  readonly resetAt?: number;
  readonly basis: Basis;
  /** Resets closer than this are one and the same: delays differ by rounding and travel time. */
  readonly sameWithinMs: number;
  /** When the API lets us back in, on our clock, at the latest; only with a Retry-After. */
  readonly retryAt?: number;
  /** How much earlier than said a reset may be. */
  readonly uncertaintyMs: number;
  readonly receivedAt: number;
}

/** The API's time less ours, as an interval that contains the truth, in milliseconds. */
export interface OffsetBounds {
  readonly low: number;
  readonly high: number;
}
