/** A count that another count can be added to. */
export interface Tally<T> {
  readonly count: number;
  merge(other: T): void;
}

export interface BoundedTalliesOptions<T> {
  /** The largest number of keys that are counted separately at a time. */
  readonly max: number;
  readonly make: () => T;
}

/**
 * Counts by key in bounded memory. When there are too many keys, the half with the lowest counts is
 * merged into `rest`, so the busiest keys stay.
 *
 * The sum over all keys stays exact. A key that was merged and occurs again starts at zero, so its
 * count is then a lower bound.
 */
export class BoundedTallies<T extends Tally<T>> {
  readonly #max: number;
  readonly #make: () => T;
  readonly #byKey = new Map<string, T>();
  #rest: T | undefined;

  constructor({ max, make }: BoundedTalliesOptions<T>) {
    this.#max = max;
    this.#make = make;
  }

  /** The tally of a key. Use it at once: it may be merged when another key is added. */
  at(key: string): T {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= this.#max) this.#mergeLeastBusy();
    const made = this.#make();
    this.#byKey.set(key, made);
    return made;
  }

  /** The busiest `count` keys, busiest first, and all others merged into one tally. */
  top(count: number): { readonly top: readonly (readonly [string, T])[]; readonly rest: T } {
    const sorted = this.#sorted();
    const rest = this.#make();
    if (this.#rest !== undefined) rest.merge(this.#rest);
    for (const [, tally] of sorted.slice(count)) rest.merge(tally);
    return { top: sorted.slice(0, count), rest };
  }

  #sorted(): [string, T][] {
    return [...this.#byKey].sort(([, a], [, b]) => b.count - a.count);
  }

  #mergeLeastBusy(): void {
    this.#rest ??= this.#make();
    for (const [key, tally] of this.#sorted().slice(Math.floor(this.#max / 2))) {
      this.#rest.merge(tally);
      this.#byKey.delete(key);
    }
  }
}
