/** Whether the call that was answered is in the number that it was answered with; APIs differ. */
export class Counting {
  #countsBefore = false;

  /** A lone answer after a full refill: it says whether this call is in its number. */
  learn(remaining: number, limit: number): void {
    if (remaining === limit) this.#countsBefore = true;
    else if (remaining === limit - 1) this.#countsBefore = false;
  }

  /** What is left after a call that was answered with `remaining`. */
  left(remaining: number, wasRefused: boolean): number {
    return Math.max(0, remaining - (this.#countsBefore && !wasRefused ? 1 : 0));
  }
}
