const PROBE_MS = { first: 1000, last: 60_000 };
const MAX_WINDOW = 1024;

/**
 * How a bucket begins of which nothing is known: one probe at a time, at growing distances while
 * none is answered; then, as long as the API reports no limit, 1, 2, 4 … requests at once.
 */
export class Opening {
  #probeAt = 0;
  #probeEveryMs = PROBE_MS.first;
  #window = 1;

  /** When a probe may go although others are out, on our clock. */
  get probeAt(): number {
    return this.#probeAt;
  }

  /** How many unmetered requests may be out at once. */
  get window(): number {
    return this.#window;
  }

  probed(now: number): void {
    this.#probeAt = now + this.#probeEveryMs;
    this.#probeEveryMs = Math.min(this.#probeEveryMs * 2, PROBE_MS.last);
  }

  probeAnswered(): void {
    this.#probeEveryMs = PROBE_MS.first;
  }

  /** The next probe need not wait for its time. */
  probeAgain(): void {
    this.#probeAt = Number.NEGATIVE_INFINITY;
  }

  widen(): void {
    this.#window = Math.min(this.#window + 1, MAX_WINDOW);
  }

  narrow(): void {
    this.#window = 1;
  }
}
