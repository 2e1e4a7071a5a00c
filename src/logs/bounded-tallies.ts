/** Something that counts, and can take in what another counted. */
export interface Tally<T> {
  readonly count: number;
  merge(other: T): void;
}

export interface BoundedTalliesOptions<T> {
  /** At most this many keys are told apart at a time. */
  readonly most: number;
  readonly make: () => T;
}

/**
 * Counts by key in bounded memory. When a key too many comes, the half with the lowest counts goes
 * into `rest`, so what is kept are the busiest. Nothing is lost from the sum of all; but a key that
 * was put away and comes back starts anew, and its count is then a lower bound.
 */
export class BoundedTallies<T extends Tally<T>> {
  readonly #most: number;
  readonly #make: () => T;
  readonly #byKey = new Map<string, T>();
  #rest: T | undefined;

  constructor({ most, make }: BoundedTalliesOptions<T>) {
    this.#most = most;
    this.#make = make;
  }

  /** The tally of a key, to be counted in at once. */
  at(key: string): T {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= this.#most) this.#putAwayTheLeast();
    const made = this.#make();
    this.#byKey.set(key, made);
    return made;
  }

  /** The busiest `count` keys, busiest first, and everything else as one. */
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

  #putAwayTheLeast(): void {
    this.#rest ??= this.#make();
    for (const [key, tally] of this.#sorted().slice(Math.floor(this.#most / 2))) {
      this.#rest.merge(tally);
      this.#byKey.delete(key);
    }
  }
}
