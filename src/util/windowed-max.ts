/**
 * The largest of the recent values: of the last `span` to twice that many.
 *
 * One freak value is forgotten in time, which a plain maximum never does.
 */
export class WindowedMax {
  #previous: number | undefined;
  #current: number | undefined;
  #count = 0;

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
