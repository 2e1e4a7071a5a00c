import type { Lease } from './in-flight.ts';
import type { Observation } from './observation.ts';

/**
 * Which observation is the newest. Answers overtake one another, so the order in which they arrive
 * says nothing; causality comes first, and what the answers themselves say second.
 */
export class NewestObservation {
  #count = 0;
  #remaining = 0;
  /** On the reporting clock. */
  #resetAt: number | undefined;
  #sameWithinMs = 0;

  /** How many observations were the newest so far; a lease notes it to tell what it came after. */
  get count(): number {
    return this.#count;
  }

  /** Whether this answer to `lease` was given after the newest so far. */
  isBefore(lease: Lease, { resetAt, remaining = 0, sameWithinMs }: Observation): boolean {
    if (lease.observationCount >= this.#count) return true;
    if (resetAt !== undefined && this.#resetAt !== undefined) {
      const laterBy = resetAt - this.#resetAt;
      // The coarser of the two says how far apart they can be and still mean the same moment.
      const toleranceMs = Math.max(sameWithinMs, this.#sameWithinMs);
      if (laterBy > toleranceMs) return true;
      if (laterBy < -toleranceMs) return false;
    }
    return remaining < this.#remaining;
  }

  replace({ resetAt, remaining = 0, sameWithinMs }: Observation): void {
    this.#count++;
    this.#remaining = remaining;
    this.#resetAt = resetAt;
    this.#sameWithinMs = sameWithinMs;
  }

  /** The clock on which resets are reported changed by `ms`. */
  move(ms: number): void {
    if (this.#resetAt !== undefined) this.#resetAt += ms;
  }
}
