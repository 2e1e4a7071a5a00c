/**
 * Everything that needs the time takes it from here, so that tests can turn the hands.
 *
 * `now` never goes back and is what every wait, deadline and budget uses. `wallMs` is what people
 * and other machines call the time; it may jump, and is used for stamps and nothing else.
 */
export interface Clock {
  /** Milliseconds on a clock that never goes back; its origin means nothing. */
  now(): number;
  /** Milliseconds since 1970, UTC, as the host believes it. */
  wallMs(): number;
  /** Calls `run` once, not before `delayMs` have passed on `now`. */
  after(delayMs: number, run: () => void): Timer;
}

/** A pending call of {@link Clock.after}. */
export interface Timer {
  /** Makes sure the call does not happen; harmless when it already has. */
  cancel(): void;
}

/** A number from 0 up to but without 1, like `Math.random`. */
export type Random = () => number;

/** Runs what it is given once the events at hand are dealt with, in the order given. */
export type EndOfTurn = (run: () => void) => void;
