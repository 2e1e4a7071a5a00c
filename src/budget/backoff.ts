import { UNKNOWN_RESET_WAIT_MS } from './trials.ts';
import type { Random } from '../util/clock.ts';
import type { Refill } from './refill.ts';
import type { Lease } from './in-flight.ts';
import type { NewestObservation } from './observation-order.ts';
import type { Observation } from './observation.ts';

/**
 * How long a 429 keeps a bucket from granting anything: until its Retry-After, else until something
 * comes back, else for a while with jitter, and longer each time.
 *
 * What was out together when the API first refused is one refusal, however many answers it has. A
 * later one of them may still bring a Retry-After, or a time at which something comes back.
 */
export class Backoff {
  readonly #newest: NewestObservation;
  readonly #refill: Refill;
  #until: number | undefined;
  #isByRetryAfter = false;
  #startedAt = Number.NEGATIVE_INFINITY;
  /** How many observations there were when it began. */
  #observationCount = 0;
  #guessesInSeries = 0;

  constructor(newest: NewestObservation, refill: Refill) {
    this.#newest = newest;
    this.#refill = refill;
  }

  /** When it ends, on our clock; `undefined` when there is none. */
  get until(): number | undefined {
    return this.#until;
  }

  /** Whether the API itself said until when. */
  get isByRetryAfter(): boolean {
    return this.#until !== undefined && this.#isByRetryAfter;
  }

  /** Takes on a Retry-After that somebody else was given. */
  restore(until: number): void {
    this.#until = until;
    this.#isByRetryAfter = true;
  }

  /** Ends it when its time is up; says whether it did. */
  endIfOver(now: number): boolean {
    if (this.#until === undefined || this.#until > now) return false;
    this.#until = undefined;
    return true;
  }

  /** Something remains, says the answer to `lease`. */
  lift(lease: Lease): void {
    // A Retry-After is overruled only by an answer to what was granted after it.
    if (this.#isByRetryAfter && lease.observationCount < this.#observationCount) return;
    this.#until = undefined;
  }

  /**
   * The API refused `lease`. Says whether that told anything: under a Retry-After, a refusal of
   * what was out before it and that says no time itself does not.
   */
  refused(lease: Lease, { retryAt }: Observation, now: number, random: Random): boolean {
    const isSameRefusal = this.#until !== undefined && lease.grantedAt <= this.#startedAt;
    const hasRetryAfter = retryAt !== undefined && retryAt > now;
    if (isSameRefusal && !hasRetryAfter && this.#isByRetryAfter) return false;
    this.#observationCount = this.#newest.count;
    this.#isByRetryAfter = hasRetryAfter;
    if (!isSameRefusal) this.#startedAt = now;
    const { nextReturnAt } = this.#refill;
    if (hasRetryAfter) {
      this.#until = retryAt;
      this.#guessesInSeries = 0;
    } else if (nextReturnAt > now && nextReturnAt < Infinity) {
      this.#until = nextReturnAt;
      this.#guessesInSeries = 0;
    } else if (!isSameRefusal) {
      this.#until = this.#guessEnd(now, random);
    }
    return true;
  }

  accepted(): void {
    this.#guessesInSeries = 0;
  }

  #guessEnd(now: number, random: Random): number {
    const { first, max } = UNKNOWN_RESET_WAIT_MS;
    const maxMs = Math.min(first * 2 ** this.#guessesInSeries, max);
    this.#guessesInSeries = Math.min(this.#guessesInSeries + 1, 16);
    return now + Math.max(50, maxMs * random());
  }
}
