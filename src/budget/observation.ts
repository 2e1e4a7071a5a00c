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

/** Whether the call that was answered is in the number that it was answered with; APIs differ. */
export class RemainingReader {
  #isBeforeCall = false;

  /** A lone answer after a full refill: it says whether this call is in its number. */
  learn(remaining: number, limit: number): void {
    if (remaining === limit) this.#isBeforeCall = true;
    else if (remaining === limit - 1) this.#isBeforeCall = false;
  }

  /** What is left after a call that was answered with `remaining`. */
  afterCall(remaining: number, wasRefused: boolean): number {
    return Math.max(0, remaining - (this.#isBeforeCall && !wasRefused ? 1 : 0));
  }
}

const NO_OFFSET: OffsetBounds = { low: 0, high: 0 };

/**
 * The clock on which an API reports its resets. Moments that it reported are kept on it and
 * converted when used, so that they get sharper as the API's clock becomes known.
 */
export class ResetClock {
  #basis: Basis = 'instant';
  /** The API's time less ours, as far as it is known by now. */
  offset = NO_OFFSET;

  /** A moment of the API's, on our clock: at the latest. */
  toLocal(time: number): number {
    return this.#basis === 'instant' ? time - this.offset.low : time;
  }

  /** A moment of ours, on the API's clock. */
  fromLocal(localTime: number): number {
    return this.#basis === 'instant' ? localTime + this.offset.low : localTime;
  }

  /**
   * Takes what the API reports from now on to be on the clock that `basis` names. Returns by how
   * many milliseconds every moment that was kept so far has to move for that.
   */
  setBasis(basis: Basis): number {
    if (basis === this.#basis) return 0;
    this.#basis = basis;
    return basis === 'instant' ? this.offset.low : -this.offset.low;
  }
}
