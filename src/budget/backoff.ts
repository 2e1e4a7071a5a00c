import { UNKNOWN_RESET_MS } from './trials.ts';
import type { Random } from '../util/clock.ts';
import type { Comebacks } from './refill.ts';
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
export class Block {
  readonly #newest: NewestObservation;
  readonly #comebacks: Comebacks;
  #until: number | undefined;
  #isByRetryAfter = false;
  #beganAt = Number.NEGATIVE_INFINITY;
  /** How many observations there were when it began. */
  #observation = 0;
  #guessesInARow = 0;

  constructor(newest: NewestObservation, comebacks: Comebacks) {
    this.#newest = newest;
    this.#comebacks = comebacks;
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
  adopt(until: number): void {
    this.#until = until;
    this.#isByRetryAfter = true;
  }

  /** Ends it when its time is up; says whether it did. */
  endedBy(now: number): boolean {
    if (this.#until === undefined || this.#until > now) return false;
    this.#until = undefined;
    return true;
  }

  /** Something remains, says the answer to `lease`. */
  overrule(lease: Lease): void {
    // A Retry-After is overruled only by an answer to what was granted after it.
    if (this.#isByRetryAfter && lease.observation < this.#observation) return;
    this.#until = undefined;
  }

  /**
   * The API refused `lease`. Says whether that told anything: under a Retry-After, a refusal of
   * what was out before it and that says no time itself does not.
   */
  refused(lease: Lease, { retryAt }: Observation, now: number, random: Random): boolean {
    const isSame = this.#until !== undefined && lease.grantedAt <= this.#beganAt;
    const isTold = retryAt !== undefined && retryAt > now;
    if (isSame && !isTold && this.#isByRetryAfter) return false;
    this.#observation = this.#newest.count;
    this.#isByRetryAfter = isTold;
    if (!isSame) this.#beganAt = now;
    const { nextAt } = this.#comebacks;
    if (isTold) {
      this.#until = retryAt;
      this.#guessesInARow = 0;
    } else if (nextAt > now && nextAt < Infinity) {
      this.#until = nextAt;
      this.#guessesInARow = 0;
    } else if (!isSame) {
      this.#until = this.#guess(now, random);
    }
    return true;
  }

  accepted(): void {
    this.#guessesInARow = 0;
  }

  #guess(now: number, random: Random): number {
    const { first, last } = UNKNOWN_RESET_MS;
    const mostMs = Math.min(first * 2 ** this.#guessesInARow, last);
    this.#guessesInARow = Math.min(this.#guessesInARow + 1, 16);
    return now + Math.max(50, mostMs * random());
  }
}
