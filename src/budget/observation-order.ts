import type { Lease } from './in-flight.ts';
import type { Observation } from './observation.ts';

/**
 * Decides which observation is the newest. Answers can arrive in another order than the API gave
 * them in.
 *
 * An answer to a request that was granted after the newest observation is newer. Otherwise the later
 * reset is newer. Where the resets are the same, the lower `remaining` is newer.
 */
export class NewestObservation {
  #count = 0;
  #remaining = 0;
  /** On the clock on which the API reports its resets. */
  #resetAt: number | undefined;
  #sameWithinMs = 0;

  /** How many observations were the newest until now. Each lease records it when granted. */
  get count(): number {
    return this.#count;
  }

  /** Whether the newest observation is before `observation`, the answer to `lease`. */
  isBefore(lease: Lease, { resetAt, remaining = 0, sameWithinMs }: Observation): boolean {
    if (lease.observationCount >= this.#count) return true;
    if (resetAt !== undefined && this.#resetAt !== undefined) {
      const laterBy = resetAt - this.#resetAt;
      // The coarser of the two limits how far apart reports of the same reset can be.
      const toleranceMs = Math.max(sameWithinMs, this.#sameWithinMs);
      if (laterBy > toleranceMs) return true;
      if (laterBy < -toleranceMs) return false;
    }
    return remaining < this.#remaining;
  }

  /** Makes an observation the newest. */
  replace({ resetAt, remaining = 0, sameWithinMs }: Observation): void {
    this.#count++;
    this.#remaining = remaining;
    this.#resetAt = resetAt;
    this.#sameWithinMs = sameWithinMs;
  }

  /** Moves the stored reset by `ms`, because the clock on which it is reported changed. */
  move(ms: number): void {
    if (this.#resetAt !== undefined) this.#resetAt += ms;
  }
}
