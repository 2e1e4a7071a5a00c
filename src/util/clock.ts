/**
 * A monotonic clock with timers, and the wall clock. All code takes the time from a `Clock`, so
 * that tests can replace it.
 *
 * Waits, deadlines and budgets use the monotonic `now`. The wall clock may jump, so it is used only
 * for timestamps.
 */
export interface Clock {
  /** Milliseconds on the monotonic clock, from an arbitrary origin. */
  now(): number;
  /** Milliseconds since 1970, UTC, on the wall clock of the host. */
  wallMs(): number;
  /** Calls `run` once, at the earliest when `now` has advanced by `delayMs`. */
  after(delayMs: number, run: () => void): Timer;
}

/** A pending call of {@link Clock.after}. */
export interface Timer {
  /** Cancels the call; has no effect if it was made already. */
  cancel(): void;
}

/** Returns a random number from 0 (inclusive) to 1 (exclusive), as `Math.random` does. */
export type Random = () => number;

/**
 * Calls `run` at the end of the current iteration of the event loop, as `setImmediate` does, or at
 * once. Calls are made in order.
 */
export type EndOfTurn = (run: () => void) => void;
