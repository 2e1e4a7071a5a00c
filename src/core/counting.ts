/**
 * What of the numbers that an API reports is ours: whether the call that was answered is in them,
 * which differs between APIs, and how many parts they have to be divided into.
 */
export class Counting {
  #countsBefore = false;
  /** How many replicas each have an equal part of what the API reports. */
  replicas = 1;

  /** Whether others are sure to spend of what the API reports. */
  get isPart(): boolean {
    return this.replicas > 1;
  }

  /** Our part of `count`, at least `least`. */
  share(count: number, least: number): number {
    return Math.max(least, Math.floor(count / this.replicas));
  }

  /** A lone answer after a full refill: it says whether this call is in its number. */
  learn(remaining: number, limit: number): void {
    if (remaining === limit) this.#countsBefore = true;
    else if (remaining === limit - 1) this.#countsBefore = false;
  }

  /** Our part of what remains after a call that was answered with `remaining`. */
  left(remaining: number, wasRefused: boolean): number {
    return this.share(remaining - (this.#countsBefore && !wasRefused ? 1 : 0), 0);
  }
}
