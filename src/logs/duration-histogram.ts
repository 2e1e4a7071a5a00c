/** Each bucket ends this much above where it starts. */
const GROWTH = 1.05;
const LN_GROWTH = Math.log(GROWTH);
/** Below this, a duration counts as none: the log has one decimal. */
const LEAST_MS = 0.1;
/** Above this (a day), durations count as this. */
const MOST_MS = 86_400_000;
const BUCKETS = Math.ceil(Math.log(MOST_MS / LEAST_MS) / LN_GROWTH) + 1;

/** How far a quantile may be off, as a share of its true value. */
export const QUANTILE_ERROR = (GROWTH - 1) / (GROWTH + 1);

/**
 * Counts durations in buckets that grow geometrically, so that quantiles of any number of them are
 * known to within {@link QUANTILE_ERROR} (2.5 %) in a fixed 2 KB. Sum, count and longest are exact.
 */
export class DurationHistogram {
  #counts: Uint32Array | undefined;
  #none = 0;
  #longest = 0;
  #sum = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sum;
  }

  get longestMs(): number {
    return this.#longest;
  }

  add(ms: number): void {
    this.#count++;
    this.#sum += ms;
    if (ms > this.#longest) this.#longest = ms;
    if (ms < LEAST_MS) {
      this.#none++;
      return;
    }
    const index = Math.ceil(Math.log(Math.min(ms, MOST_MS) / LEAST_MS) / LN_GROWTH);
    // Most callers never wait: they need no buckets.
    this.#counts ??= new Uint32Array(BUCKETS);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  /** Takes in everything that `other` counted. */
  merge(other: DurationHistogram): void {
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#none += other.#none;
    this.#longest = Math.max(this.#longest, other.#longest);
    if (other.#counts === undefined) return;
    const counts = (this.#counts ??= new Uint32Array(BUCKETS));
    other.#counts.forEach((count, index) => {
      counts[index] = (counts[index] ?? 0) + count;
    });
  }

  /** The duration that a `share` (0 to 1) of all do not exceed; 0 when there are none. */
  quantileMs(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = this.#none;
    if (this.#counts === undefined || seen >= rank) return 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count;
      if (seen < rank) continue;
      // The middle of the bucket, by ratio: as far off from its lower end as from its upper one.
      const middle = LEAST_MS * (GROWTH ** index * (2 / (GROWTH + 1)));
      return Math.min(middle, this.#longest);
    }
    return this.#longest;
  }
}
