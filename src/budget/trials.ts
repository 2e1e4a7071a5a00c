import type { Lease } from './in-flight.ts';

/** How long to wait where nothing says when something comes back: at first, and at the most. */
export const UNKNOWN_RESET_WAIT_MS = { first: 1000, max: 60_000 };
/** How long past the uncertainty of a reset the rest waits for the canary's answer. */
const HOLD_MS = 1000;
const FORCED_AFTER_MS = { usual: 60_000, underRetryAfter: 600_000, max: 900_000 };

/**
 * The single grant that goes to learn whether a belief is true, and when one goes:
 *
 *   held    what became available by belief waits until the canary's answer, or for a while
 *   due     nothing is available; at once after a refill that gave nothing or a block that ended,
 *           later and later where nothing is known to come back
 *   stuck   nothing at all was granted for too long, whatever is believed
 *
 * Any grant tells as much as a canary would, so none is due after one.
 */
export class Canary {
  /** The one that is out. */
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
   * Until when all but the canary has to wait, on our clock; it may have passed. `undefined` when
   * what is available has been observed, and is no belief.
   */
  get othersHeldUntil(): number | undefined {
    return this.#othersHeldUntil;
  }

  /** When one will be due, on our clock; `undefined` when that is not for the clock to say. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** Whether all but the canary has to wait. */
  holdsOthers(now: number): boolean {
    return this.#othersHeldUntil !== undefined && now < this.#othersHeldUntil;
  }

  isAllowed(available: number): boolean {
    return this.#lease === undefined && (available > 0 || this.#isDue);
  }

  /** The time after which one goes whatever we believe: no belief may last for ever. */
  forcedAt(isUnderRetryAfter: boolean): number {
    const atLeast = isUnderRetryAfter ? FORCED_AFTER_MS.underRetryAfter : FORCED_AFTER_MS.usual;
    return this.#lastGrantAt + Math.max(this.#forcedAfterMs, atLeast);
  }

  /** What is available is a belief from `at` on, which may be wrong by `uncertaintyMs`. */
  holdOthers(at: number, uncertaintyMs: number): void {
    this.#othersHeldUntil = at + uncertaintyMs + HOLD_MS;
  }

  /** Something came back or a block ended: one is due where that left nothing available. */
  dueIfNothing(available: number): void {
    this.#isDue = available <= 0;
  }

  /** Nothing says when something comes back: ask after a while, and less and less often. */
  schedule(now: number): void {
    if (this.#dueAt !== undefined) return;
    this.#dueAt = now + this.#waitMs;
    this.#waitMs = Math.min(this.#waitMs * 2, UNKNOWN_RESET_WAIT_MS.max);
  }

  /** Something else says by now when to ask. */
  unschedule(): void {
    this.#dueAt = undefined;
  }

  advance(now: number, available: number): void {
    if (this.#dueAt === undefined || this.#dueAt > now) return;
    this.#dueAt = undefined;
    this.#isDue = available <= 0;
  }

  granted(lease: Lease, now: number): void {
    this.#lastGrantAt = now;
    this.#isDue = false;
    if (lease.kind === 'canary') this.#lease = lease;
  }

  /** Takes on one that was granted elsewhere. */
  restore(lease: Lease): void {
    this.#lease = lease;
  }

  ended(lease: Lease): void {
    if (this.#lease === lease) this.#lease = undefined;
  }

  /** An observation took the place of whatever was believed. */
  observed(): void {
    this.#othersHeldUntil = undefined;
    this.#isDue = false;
  }

  /** The API has something, or said when it will: it need not be asked so seldom. */
  resetDelay(): void {
    this.#waitMs = UNKNOWN_RESET_WAIT_MS.first;
  }

  accepted(): void {
    this.#forcedAfterMs = FORCED_AFTER_MS.usual;
  }

  refused(): void {
    this.#forcedAfterMs = Math.min(this.#forcedAfterMs * 2, FORCED_AFTER_MS.max);
  }
}

const REQUEST_INTERVAL_MS = { first: 1000, max: 60_000 };
const MAX_WINDOW = 1024;

/**
 * How a bucket begins of which nothing is known: one probe at a time, at growing distances while
 * none is answered; then, as long as the API reports no limit, 1, 2, 4 … requests at once.
 */
export class Opening {
  #nextRequestAt = 0;
  #intervalMs = REQUEST_INTERVAL_MS.first;
  #window = 1;

  /** When a probe may go although others are out, on our clock. */
  get nextRequestAt(): number {
    return this.#nextRequestAt;
  }

  /** How many unmetered requests may be out at once. */
  get window(): number {
    return this.#window;
  }

  firstRequestGranted(now: number): void {
    this.#nextRequestAt = now + this.#intervalMs;
    this.#intervalMs = Math.min(this.#intervalMs * 2, REQUEST_INTERVAL_MS.max);
  }

  firstRequestAnswered(): void {
    this.#intervalMs = REQUEST_INTERVAL_MS.first;
  }

  /** The next probe need not wait for its time. */
  requestAgain(): void {
    this.#nextRequestAt = Number.NEGATIVE_INFINITY;
  }

  widen(): void {
    this.#window = Math.min(this.#window + 1, MAX_WINDOW);
  }

  narrow(): void {
    this.#window = 1;
  }
}
