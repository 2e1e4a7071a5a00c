/** The label of every name that has no label of its own. */
export const OTHER = 'other';

/** How many names without a label are counted as candidates, per label. */
const CANDIDATES_PER_LABEL = 4;
/** A candidate is compared with the named ones every 16 calls, because this reads all of them. */
const COMPARE_EVERY = 16;
/** All counts are halved after this many calls, so that formerly busy names lose their labels. */
const HALVE_EVERY = 10_000;

/**
 * Bounds the number of label values of a metric: the busiest names get a label each, all others
 * share the label `other`. Callers choose their names, so their number has no bound.
 *
 * The first names get a label at once. A later name replaces the least busy one when it has twice
 * as many calls. The margin prevents that two equally busy names replace each other again and again.
 */
export class BoundedLabels {
  readonly #max: number;
  readonly #onDropped: (name: string) => void;
  readonly #named = new Map<string, number>();
  readonly #candidates = new Map<string, number>();
  #calls = 0;

  /** Calls `onDropped` with each name that lost its label. */
  constructor(max: number, onDropped: (name: string) => void) {
    this.#max = max;
    this.#onDropped = onDropped;
  }

  /** Counts a call of this name, and returns its label. */
  label(name: string): string {
    if (++this.#calls % HALVE_EVERY === 0) this.#halve();
    const count = this.#named.get(name);
    if (count !== undefined) {
      this.#named.set(name, count + 1);
      return name;
    }
    if (this.#named.size < this.#max) {
      this.#named.set(name, 1);
      return name;
    }
    return this.#other(name);
  }

  #other(name: string): string {
    const calls = (this.#candidates.get(name) ?? 0) + 1;
    if (calls === 1 && this.#candidates.size >= this.#max * CANDIDATES_PER_LABEL) {
      // Drops the oldest candidate. Most candidates were seen once; a busy name is soon back.
      for (const [seen] of this.#candidates) {
        this.#candidates.delete(seen);
        break;
      }
    }
    this.#candidates.set(name, calls);
    if (calls % COMPARE_EVERY !== 0) return OTHER;
    const [least, leastCalls] = this.#leastBusy();
    if (calls < 2 * leastCalls) return OTHER;
    this.#candidates.delete(name);
    this.#named.delete(least);
    this.#onDropped(least);
    this.#named.set(name, calls);
    return name;
  }

  #leastBusy(): [name: string, calls: number] {
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
