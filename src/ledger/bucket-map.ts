/** A bucket that may be forgotten while it is idle: no grant is held, and no ticket waits. */
export interface Forgettable {
  readonly idle: boolean;
}

/** A bounded number of buckets by id. Beyond the bound, the longest unused idle one is forgotten. */
export class BucketMap<T extends Forgettable> {
  readonly #most: number;
  /** The longest unused first. */
  readonly #buckets = new Map<string, T>();

  /** There may be more than `most` buckets while none of them is idle. */
  constructor(most = 10_000) {
    this.#most = most;
  }

  /** Looks at a bucket without using it. */
  get(id: string): T | undefined {
    return this.#buckets.get(id);
  }

  /** Uses a bucket; `undefined` when there is none, and then {@link add} follows. */
  use(id: string): T | undefined {
    const bucket = this.#buckets.get(id);
    // The order matters only when the bound is near.
    if (bucket !== undefined && this.#buckets.size * 2 > this.#most) {
      this.#buckets.delete(id);
      this.#buckets.set(id, bucket);
    }
    return bucket;
  }

  /** Adds a new bucket. Returns the one that was forgotten for it, if there were too many. */
  add(id: string, bucket: T): T | undefined {
    const forgotten = this.#buckets.size >= this.#most ? this.#forgetIdle() : undefined;
    this.#buckets.set(id, bucket);
    return forgotten;
  }

  values(): IterableIterator<T> {
    return this.#buckets.values();
  }

  [Symbol.iterator](): IterableIterator<[id: string, bucket: T]> {
    return this.#buckets.entries();
  }

  clear(): void {
    this.#buckets.clear();
  }

  #forgetIdle(): T | undefined {
    for (const [id, bucket] of this.#buckets) {
      if (!bucket.idle) continue;
      this.#buckets.delete(id);
      return bucket;
    }
    return undefined;
  }
}
