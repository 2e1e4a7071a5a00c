import type { Lease } from './in-flight.ts';

/** How long to wait where no time of return is known: at first, and at most after doubling. */
export const UNKNOWN_RESET_WAIT_MS = { first: 1000, max: 60_000 };
/** How long other requests wait for the canary's answer, after the uncertainty of the reset. */
const HOLD_MS = 1000;
/**
 * After this long without any grant, a canary is granted in any state. Each refused canary doubles
 * the time, up to `max`.
 */
const FORCED_AFTER_MS = { usual: 60_000, underRetryAfter: 600_000, max: 900_000 };

/**
 * Decides when a canary is granted: a single request that tests an assumption about the budget.
 *
 * - held: `remaining` is assumed, for example after a reset. One canary is granted, and all other
 *   requests wait for its answer, for a limited time.
 * - due: nothing is available. A canary is due at once after a reset or a back-off that left nothing
 *   available. Where no time of return is known it is due after a delay that doubles each time.
 * - forced: nothing was granted for too long. No assumption may stop a bucket for ever.
 *
 * Any other grant tests the budget as well as a canary does, so each grant clears a due canary.
 */
export class Canary {
  /** The canary in flight. */
  #lease: Lease | undefined;
  #othersHeldUntil: number | undefined;
  #isDue = false;
  #dueAt: number | undefined;
  #waitMs = UNKNOWN_RESET_WAIT_MS.first;
  #forcedAfterMs = FORCED_AFTER_MS.usual;
  #lastGrantAt: number;

  constructor(now: number) {
    this.#lastGrantAt = now;
  }

  get isInFlight(): boolean {
    return this.#lease !== undefined;
  }

  /**
   * Until when all requests but the canary wait; the time may be past. `undefined` when what is
   * available was reported and not assumed.
   */
  get othersHeldUntil(): number | undefined {
    return this.#othersHeldUntil;
  }

  /** When the scheduled canary becomes due; `undefined` when none is scheduled. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** Whether all requests but the canary must wait. */
  holdsOthers(now: number): boolean {
    return this.#othersHeldUntil !== undefined && now < this.#othersHeldUntil;
  }

  /** Whether a canary may be granted: none is in flight, and it has a budget or is due without one. */
  isAllowed(available: number): boolean {
    return this.#lease === undefined && (available > 0 || this.#isDue);
  }

  /** When a canary is granted in any state, because nothing else was granted for so long. */
  forcedAt(isUnderRetryAfter: boolean): number {
    const atLeastMs = isUnderRetryAfter ? FORCED_AFTER_MS.underRetryAfter : FORCED_AFTER_MS.usual;
    return this.#lastGrantAt + Math.max(this.#forcedAfterMs, atLeastMs);
  }

  /** Makes all requests but the canary wait: from `at` on, what is available is an assumption. */
  holdOthers(at: number, uncertaintyMs: number): void {
    this.#othersHeldUntil = at + uncertaintyMs + HOLD_MS;
  }

  /** Makes a canary due if nothing is available after a reset, a back-off or an unsent canary. */
  dueIfEmpty(available: number): void {
    this.#isDue = available <= 0;
  }

  /** Schedules a canary, because no time of return is known. Each one waits twice as long. */
  schedule(now: number): void {
    if (this.#dueAt !== undefined) return;
    this.#dueAt = now + this.#waitMs;
    this.#waitMs = Math.min(this.#waitMs * 2, UNKNOWN_RESET_WAIT_MS.max);
  }

  /** Cancels the scheduled canary, because a time of return or of a retry is known. */
  unschedule(): void {
    this.#dueAt = undefined;
  }

  /** Makes the scheduled canary due when its time has come. */
  advance(now: number, available: number): void {
    if (this.#dueAt === undefined || this.#dueAt > now) return;
    this.#dueAt = undefined;
    this.#isDue = available <= 0;
  }

  /** Records a grant of any kind. */
  granted(lease: Lease, now: number): void {
    this.#lastGrantAt = now;
    this.#isDue = false;
    if (lease.kind === 'canary') this.#lease = lease;
  }

  /** Continues a canary that another ledger granted. */
  restore(lease: Lease): void {
    this.#lease = lease;
  }

  /** Records the end or the expiry of a lease of any kind. */
  ended(lease: Lease): void {
    if (this.#lease === lease) this.#lease = undefined;
  }

  /** Ends the hold, because an observation replaced the assumption. */
  observed(): void {
    this.#othersHeldUntil = undefined;
    this.#isDue = false;
  }

  /** Resets the delay of {@link schedule}: something remains, or a reset was reported. */
  resetDelay(): void {
    this.#waitMs = UNKNOWN_RESET_WAIT_MS.first;
  }

  /** The API accepted a request: a forced canary no longer waits longer than usual. */
  accepted(): void {
    this.#forcedAfterMs = FORCED_AFTER_MS.usual;
  }

  /** The API refused a canary: the next forced one waits twice as long. */
  refused(): void {
    this.#forcedAfterMs = Math.min(this.#forcedAfterMs * 2, FORCED_AFTER_MS.max);
  }
}

/** How long to wait for a further first request: at first, and at most after doubling. */
const FIRST_REQUEST_INTERVAL_MS = { first: 1000, max: 60_000 };
const MAX_WINDOW = 1024;

/**
 * Opens a bucket of which nothing is known.
 *
 * An unopened bucket grants one first request at a time. While none is answered, it grants a further
 * one at intervals that double. As long as the API reports no limit, the bucket is unmetered and
 * uses slow start: 1, 2, 4 … requests in flight.
 */
export class Opening {
  #nextRequestAt = 0;
  #intervalMs = FIRST_REQUEST_INTERVAL_MS.first;
  #window = 1;

  /** When a first request may be granted although others are in flight. */
  get nextRequestAt(): number {
    return this.#nextRequestAt;
  }

  /** How many unmetered requests may be in flight: the window of slow start. */
  get window(): number {
    return this.#window;
  }

  firstRequestGranted(now: number): void {
    this.#nextRequestAt = now + this.#intervalMs;
    this.#intervalMs = Math.min(this.#intervalMs * 2, FIRST_REQUEST_INTERVAL_MS.max);
  }

  firstRequestAnswered(): void {
    this.#intervalMs = FIRST_REQUEST_INTERVAL_MS.first;
  }

  /** Allows the next first request at once. */
  requestAgain(): void {
    this.#nextRequestAt = Number.NEGATIVE_INFINITY;
  }

  /** Adds one to the window for an accepted request, which doubles it each round trip. */
  widen(): void {
    this.#window = Math.min(this.#window + 1, MAX_WINDOW);
  }

  /** Starts again with a window of one, because the API refused a request. */
  narrow(): void {
    this.#window = 1;
  }
}
