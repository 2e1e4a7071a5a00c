import type { Lease } from './in-flight.ts';

/** How long to wait where nothing says when something comes back: at first, and at the most. */
export const UNKNOWN_RESET_MS = { first: 1000, last: 60_000 };
/** How long past the uncertainty of a reset the rest waits for the canary's answer. */
const HOLD_MS = 1000;
const STUCK_MS = { usual: 60_000, underRetryAfter: 600_000, last: 900_000 };

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
  #heldUntil: number | undefined;
  #due = false;
  #dueAt: number | undefined;
  #unknownResetMs = UNKNOWN_RESET_MS.first;
  #stuckMs = STUCK_MS.usual;
  #lastGrantAt: number;

  constructor(now: number) {
    this.#lastGrantAt = now;
  }

  get isOut(): boolean {
    return this.#lease !== undefined;
  }

  /**
   * Until when all but the canary has to wait, on our clock; it may have passed. `undefined` when
   * what is available has been observed, and is no belief.
   */
  get heldUntil(): number | undefined {
    return this.#heldUntil;
  }

  /** When one will be due, on our clock; `undefined` when that is not for the clock to say. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** Whether all but the canary has to wait. */
  holds(now: number): boolean {
    return this.#heldUntil !== undefined && now < this.#heldUntil;
  }

  mayGo(available: number): boolean {
    return this.#lease === undefined && (available > 0 || this.#due);
  }

  /** The time after which one goes whatever we believe: no belief may last for ever. */
  stuckAt(isUnderRetryAfter: boolean): number {
    const atLeast = isUnderRetryAfter ? STUCK_MS.underRetryAfter : STUCK_MS.usual;
    return this.#lastGrantAt + Math.max(this.#stuckMs, atLeast);
  }

  /** What is available is a belief from `at` on, which may be wrong by `uncertaintyMs`. */
  hold(at: number, uncertaintyMs: number): void {
    this.#heldUntil = at + uncertaintyMs + HOLD_MS;
  }

  /** Something came back or a block ended: one is due where that left nothing available. */
  dueUnless(available: number): void {
    this.#due = available <= 0;
  }

  /** Nothing says when something comes back: ask after a while, and less and less often. */
  later(now: number): void {
    if (this.#dueAt !== undefined) return;
    this.#dueAt = now + this.#unknownResetMs;
    this.#unknownResetMs = Math.min(this.#unknownResetMs * 2, UNKNOWN_RESET_MS.last);
  }

  /** Something else says by now when to ask. */
  notLater(): void {
    this.#dueAt = undefined;
  }

  advance(now: number, available: number): void {
    if (this.#dueAt === undefined || this.#dueAt > now) return;
    this.#dueAt = undefined;
    this.#due = available <= 0;
  }

  granted(lease: Lease, now: number): void {
    this.#lastGrantAt = now;
    this.#due = false;
    if (lease.kind === 'canary') this.#lease = lease;
  }

  /** Takes on one that was granted elsewhere. */
  adopt(lease: Lease): void {
    this.#lease = lease;
  }

  ended(lease: Lease): void {
    if (this.#lease === lease) this.#lease = undefined;
  }

  /** An observation took the place of whatever was believed. */
  observed(): void {
    this.#heldUntil = undefined;
    this.#due = false;
  }

  /** The API has something, or said when it will: it need not be asked so seldom. */
  hopeful(): void {
    this.#unknownResetMs = UNKNOWN_RESET_MS.first;
  }

  accepted(): void {
    this.#stuckMs = STUCK_MS.usual;
  }

  refused(): void {
    this.#stuckMs = Math.min(this.#stuckMs * 2, STUCK_MS.last);
  }
}
