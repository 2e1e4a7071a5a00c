import type { Random } from '../util/clock.ts';
import type { Lease } from './in-flight.ts';
import type { NewestObservation } from './observation-order.ts';
import type { Observation } from './observation.ts';
import type { Refill } from './refill.ts';
import { UNKNOWN_RESET_WAIT_MS } from './trials.ts';

const MIN_GUESS_MS = 50;
/** Beyond this exponent the guess is at its maximum, and 2 to the power of it stays finite. */
const MAX_EXPONENT = 16;

/**
 * How long a 429 blocks the bucket: until its Retry-After; else until the next slot returns; else
 * for a guess, which is exponential with full jitter.
 *
 * The requests in flight at the first refusal count as one refusal, however many of them the API
 * refuses. A later answer among them may still add a Retry-After or a time of return.
 */
export class Backoff {
  readonly #newest: NewestObservation;
  readonly #refill: Refill;
  #until: number | undefined;
  #isByRetryAfter = false;
  #startedAt = Number.NEGATIVE_INFINITY;
  /** How many observations there were when the back-off started. */
  #observationCount = 0;
  #guessesInSeries = 0;

  constructor(newest: NewestObservation, refill: Refill) {
    this.#newest = newest;
    this.#refill = refill;
  }

  /** When the back-off ends; `undefined` when there is none. */
  get until(): number | undefined {
    return this.#until;
  }

  /** Whether the end of the current back-off is the API's Retry-After. */
  get isByRetryAfter(): boolean {
    return this.#until !== undefined && this.#isByRetryAfter;
  }

  /** Continues a Retry-After that another ledger received. */
  restore(until: number): void {
    this.#until = until;
    this.#isByRetryAfter = true;
  }

  /** Ends the back-off if its time is over. Returns whether it ended one. */
  endIfOver(now: number): boolean {
    if (this.#until === undefined || this.#until > now) return false;
    this.#until = undefined;
    return true;
  }

  /** Ends the back-off because the answer to `lease` reports that something remains. */
  lift(lease: Lease): void {
    // A Retry-After stands until a request that was granted after it is answered.
    if (this.#isByRetryAfter && lease.observationCount < this.#observationCount) return;
    this.#until = undefined;
  }

  /**
   * Starts or updates the back-off, because the API refused `lease`. Returns false for a refusal that
   * adds nothing: the request was in flight before the current Retry-After and got none itself.
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

  /** The API accepted a request: the next guess starts from the shortest time again. */
  accepted(): void {
    this.#guessesInSeries = 0;
  }

  #guessEnd(now: number, random: Random): number {
    const { first, max } = UNKNOWN_RESET_WAIT_MS;
    const maxMs = Math.min(first * 2 ** this.#guessesInSeries, max);
    this.#guessesInSeries = Math.min(this.#guessesInSeries + 1, MAX_EXPONENT);
    return now + Math.max(MIN_GUESS_MS, maxMs * random());
  }
}
