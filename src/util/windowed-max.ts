/**
 * The maximum of a sliding window over the most recent values.
 *
 * The window holds the last `span` to 2 × `span` values. An extreme value is forgotten in time,
 * unlike in a plain maximum, and no list of values is stored.
 */
export class WindowedMax {
  #previous: number | undefined;
  #current: number | undefined;
  #count = 0;

  /** The maximum; `undefined` before the first value. */
  get value(): number | undefined {
    if (this.#previous === undefined) return this.#current;
    return this.#current === undefined ? this.#previous : Math.max(this.#previous, this.#current);
  }

  add(value: number, span: number): void {
    this.#current = Math.max(value, this.#current ?? value);
    if (++this.#count < span) return;
    this.#previous = this.#current;
    this.#current = undefined;
    this.#count = 0;
  }
}
