/**
 * What one answer reports of a budget, as the model needs it. All times are on one clock, and each is
 * the latest possible.
 */
export interface Observation {
  readonly status: number;
  readonly limit?: number;
  readonly remaining?: number;
  /** The latest time of the reset, on the clock that {@link basis} names. */
  readonly resetAt?: number;
  readonly basis: Basis;
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

const NO_OFFSET: OffsetBounds = { low: 0, high: 0 };

/**
 * Converts between our clock and the clock on which an API reports its resets.
 *
 * Reported times are stored on the API's clock and converted when used. They become more exact as
 * the offset becomes better known.
 */
export class ResetClock {
  #basis: Basis = 'instant';
  /** The best known offset of the API's clock. */
  offset = NO_OFFSET;

  /** Converts a time on the API's clock to ours: the latest possible. */
  toLocal(time: number): number {
    return this.#basis === 'instant' ? time - this.offset.low : time;
  }

  /** Converts a time on our clock to the API's. */
  fromLocal(localTime: number): number {
    return this.#basis === 'instant' ? localTime + this.offset.low : localTime;
  }

  /** Changes the basis. Returns how many milliseconds every stored time must be moved by. */
  setBasis(basis: Basis): number {
    if (basis === this.#basis) return 0;
    this.#basis = basis;
    return basis === 'instant' ? this.offset.low : -this.offset.low;
  }
}

/** Learns whether an API reports `remaining` before or after it counts the call that it answers. */
export class RemainingReader {
  #isBeforeCall = false;

  /** Learns from the answer to a single request in a full budget, which shows the difference. */
  learn(remaining: number, limit: number): void {
    if (remaining === limit) this.#isBeforeCall = true;
    else if (remaining === limit - 1) this.#isBeforeCall = false;
  }

  /** Returns what remains after the call whose answer reports `remaining`. */
  afterCall(remaining: number, wasRefused: boolean): number {
    return Math.max(0, remaining - (this.#isBeforeCall && !wasRefused ? 1 : 0));
  }
}
