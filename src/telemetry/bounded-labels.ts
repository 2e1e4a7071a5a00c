/** What every name is called that has no label of its own. */
export const OTHER = 'other';

/** Names without a label of their own whose calls are counted, per label there is. */
const CANDIDATES_PER_LABEL = 4;
/** Only every so often is a candidate weighed against the named ones; it is a walk over them. */
const WEIGH_EVERY = 16;
/** After so many calls all counts are halved, so that yesterday's busy make room. */
const HALVE_EVERY = 10_000;

/**
 * Gives labels to the busiest names and calls the rest `other`, so that a metric stays bounded
 * whatever callers call themselves.
 *
 * The first names get one each. A later name takes the place of the least busy one once it has
 * twice its calls; that margin keeps two equals from taking turns.
 */
export class Busiest {
  readonly #most: number;
  readonly #onDropped: (name: string) => void;
  readonly #named = new Map<string, number>();
  readonly #candidates = new Map<string, number>();
  #calls = 0;

  /** `onDropped` hears of a name that lost its label. */
  constructor(most: number, onDropped: (name: string) => void) {
    this.#most = most;
    this.#onDropped = onDropped;
  }

  /** The label for a call of this name, which it counts. */
  label(name: string): string {
    if (++this.#calls % HALVE_EVERY === 0) this.#halve();
    const count = this.#named.get(name);
    if (count !== undefined) {
      this.#named.set(name, count + 1);
      return name;
    }
    if (this.#named.size < this.#most) {
      this.#named.set(name, 1);
      return name;
    }
    return this.#other(name);
  }

  #other(name: string): string {
    const calls = (this.#candidates.get(name) ?? 0) + 1;
    if (calls === 1 && this.#candidates.size >= this.#most * CANDIDATES_PER_LABEL) {
      // Names that were seen once are most of them; whoever is busy comes again.
      for (const [seen] of this.#candidates) {
        this.#candidates.delete(seen);
        break;
      }
    }
    this.#candidates.set(name, calls);
    if (calls % WEIGH_EVERY !== 0) return OTHER;
    const [least, leastCalls] = this.#least();
    if (calls < 2 * leastCalls) return OTHER;
    this.#candidates.delete(name);
    this.#named.delete(least);
    this.#onDropped(least);
    this.#named.set(name, calls);
    return name;
  }

  #least(): [name: string, calls: number] {
    let least: [string, number] = ['', Number.POSITIVE_INFINITY];
    for (const entry of this.#named) if (entry[1] < least[1]) least = entry;
    return least;
  }

  #halve(): void {
    for (const [name, count] of this.#named) this.#named.set(name, count >> 1);
    for (const [name, count] of this.#candidates) {
      if (count > 1) this.#candidates.set(name, count >> 1);
      else this.#candidates.delete(name);
    }
  }
}
