/** Whether the call that was answered is in the number that it was answered with; APIs differ. */
export class RemainingReader {
  #isBeforeCall = false;

  /** A lone answer after a full refill: it says whether this call is in its number. */
  learn(remaining: number, limit: number): void {
    if (remaining === limit) this.#isBeforeCall = true;
    else if (remaining === limit - 1) this.#isBeforeCall = false;
  }

  /** What is left after a call that was answered with `remaining`. */
  afterCall(remaining: number, wasRefused: boolean): number {
    return Math.max(0, remaining - (this.#isBeforeCall && !wasRefused ? 1 : 0));
  }
}
