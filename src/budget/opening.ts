const REQUEST_INTERVAL_MS = { first: 1000, max: 60_000 };
const MAX_WINDOW = 1024;

/**
 * How a bucket begins of which nothing is known: one probe at a time, at growing distances while
 * none is answered; then, as long as the API reports no limit, 1, 2, 4 … requests at once.
 */
export class Opening {
  #nextRequestAt = 0;
  #intervalMs = REQUEST_INTERVAL_MS.first;
  #window = 1;

  /** When a probe may go although others are out, on our clock. */
  get nextRequestAt(): number {
    return this.#nextRequestAt;
  }

  /** How many unmetered requests may be out at once. */
  get window(): number {
    return this.#window;
  }

  firstRequestGranted(now: number): void {
    this.#nextRequestAt = now + this.#intervalMs;
    this.#intervalMs = Math.min(this.#intervalMs * 2, REQUEST_INTERVAL_MS.max);
  }

  firstRequestAnswered(): void {
    this.#intervalMs = REQUEST_INTERVAL_MS.first;
  }

  /** The next probe need not wait for its time. */
  requestAgain(): void {
    this.#nextRequestAt = Number.NEGATIVE_INFINITY;
  }

  widen(): void {
    this.#window = Math.min(this.#window + 1, MAX_WINDOW);
  }

  narrow(): void {
    this.#window = 1;
  }
}
