export interface BucketMapOptions<T> {
  /** Buckets kept; beyond them idle ones are forgotten. One in use never is. */
  readonly most?: number | undefined;
  /** Whether nothing of a bucket would be missed: nothing is out, nothing waits. */
  readonly isIdle: (bucket: T) => boolean;
  readonly onForgotten?: (bucket: T) => void;
}

/** Buckets by id, as many as there may be: the longest unused goes first. */
export class BucketMap<T> {
  readonly #most: number;
  readonly #isIdle: (bucket: T) => boolean;
  readonly #onForgotten: (bucket: T) => void;
  /** The longest unused first. */
  readonly #buckets = new Map<string, T>();

  constructor({ most = 10_000, isIdle, onForgotten = () => undefined }: BucketMapOptions<T>) {
    this.#most = most;
    this.#isIdle = isIdle;
    this.#onForgotten = onForgotten;
  }

  /** A bucket that somebody looks at and does not use. */
  get(id: string): T | undefined {
    return this.#buckets.get(id);
  }

  /** A bucket that is used now; `undefined` when there is none, and then {@link add} is next. */
  use(id: string): T | undefined {
    const bucket = this.#buckets.get(id);
    // The order matters only once there are so many that some must go.
    if (bucket !== undefined && this.#buckets.size * 2 > this.#most) {
      this.#buckets.delete(id);
      this.#buckets.set(id, bucket);
    }
    return bucket;
  }

  /** Keeps a new bucket, and forgets the longest unused idle one when there are too many. */
  add(id: string, bucket: T): void {
    if (this.#buckets.size >= this.#most) this.#forgetIdle();
    this.#buckets.set(id, bucket);
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

  #forgetIdle(): void {
    for (const [id, bucket] of this.#buckets) {
      if (!this.#isIdle(bucket)) continue;
      this.#buckets.delete(id);
      this.#onForgotten(bucket);
      return;
    }
  }
}
