/** Beyond this number of buckets, all refusals are forgotten. */
const MAX_BUCKETS = 1000;

interface LoneRefusal {
  readonly callId: string;
  readonly until: number;
}

/**
 * Finds out whether a refusal concerns one request or its whole bucket, where the API reports that
 * budget remains. The first refused request waits alone. If another one is refused meanwhile, then a
 * limit that the API does not report concerns them all.
 */
export class LoneRefusals {
  readonly #byBucket = new Map<string, LoneRefusal>();

  /** Whether the refusal of a call at `now`, which waits until `until`, concerns this call alone. */
  isLone(bucketId: string, callId: string, now: number, until: number): boolean {
    const first = this.#byBucket.get(bucketId);
    if (first !== undefined && first.callId !== callId && now < first.until) return false;
    if (this.#byBucket.size >= MAX_BUCKETS) this.#byBucket.clear();
    this.#byBucket.set(bucketId, { callId, until });
    return true;
  }
}
