/** How long others may need to spend their parts, if they want them at all. */
const OTHERS_MS = 1000;
/** Into so many bursts a part falls at the most; what comes in smaller ones comes all the time. */
const BURSTS_PER_PART = 4;

/**
 * Our part of a budget of which several replicas have one each, and cannot tell each other what they
 * do: an equal share of the limit, and never more than that share of what the API has left.
 *
 * What the others do not use is not lost: once ours is used up we go on with it, at the pace at which
 * the API gives back over a period, and as long as one is left for each. At once it would be taken
 * before the others had their part. Of what is left then, who has not used its part up claims one
 * now and then: whoever goes beyond its own sees that and waits for more to come back.
 */
export class Share {
  readonly #replicas: number;
  /** When what the others leave may next be gone on with. */
  #beyondAt: number;
  /** When we may next claim of our own part what others seem to go beyond theirs with. */
  #claimAt: number;
  #keptUntil: number | undefined;
  #heardAt: number | undefined;
  /**
   * What the API has left, as far as we know: as it said, with what came back to us since and
   * without what we spent and had no answer to.
   */
  #left = 0;
  /** From when on a grant's answer tells what the others leave of what all began to spend. */
  #tellsAt: number;
  /** Whether there was such an answer. */
  #isTold = false;

  /** From now on so many replicas have a part each. */
  constructor(replicas: number, now: number) {
    this.#replicas = replicas;
    this.#beyondAt = now + OTHERS_MS;
    this.#claimAt = now + OTHERS_MS;
    this.#tellsAt = now + OTHERS_MS;
  }

  /** Whether there are others, who are sure to spend theirs. */
  get isPart(): boolean {
    return this.#replicas > 1;
  }

  /** Until when one is kept, on our clock; `undefined` when none is. */
  get keptUntil(): number | undefined {
    return this.#keptUntil;
  }

  /** Our part of what the API has left. */
  of(left: number): number {
    return Math.floor(left / this.#replicas);
  }

  /** Our part of the API's limit. */
  ofLimit(limit: number): number {
    return Math.max(1, this.of(limit));
  }

  /** What `ours` is a part of. */
  whole(ours: number): number {
    return ours * this.#replicas;
  }

  /** How much of `remaining` is of our own part, of whose `limit` so much is out. */
  own(remaining: number, limit: number, out: number): number {
    if (!this.isPart) return remaining;
    return Math.min(remaining, limit - out) - (this.#keptUntil === undefined ? 0 : 1);
  }

  /** How many slots of ours may be out, where `remaining` of our part of the limit are not. */
  mostOut(limit: number, remaining: number): number {
    return this.isPart ? this.whole(limit) : limit - remaining;
  }

  /** All may begin to spend their parts now. One of `own` is kept, to ask later what the others leave. */
  begin(now: number, own: number): void {
    if (!this.isPart) return;
    this.#watch(now);
    if (own > 1) this.#keptUntil = now + OTHERS_MS;
  }

  advance(now: number): void {
    if (this.#keptUntil !== undefined && this.#keptUntil <= now) this.#keptUntil = undefined;
  }

  /**
   * One is granted, after which so many of our own part of the limit are there. Beyond them one goes
   * each `paceMs`.
   */
  granted(now: number, own: number, limit: number, paceMs: number): void {
    if (!this.isPart) return;
    // Where much of ours is there at once, so is much of the others'.
    const isBurst = own > 0 && own * BURSTS_PER_PART >= limit;
    if (isBurst) this.#watch(now);
    this.#beyondAt = Math.max(this.#beyondAt, now + (isBurst ? OTHERS_MS : paceMs));
    this.#claimAt = Math.max(this.#beyondAt, now + this.whole(paceMs));
  }

  /**
   * When one may go that {@link own} has no room for, while so many of ours are under way: on our
   * clock, and infinitely far when the API has too little left. `isUsedUp`: our part of the limit is.
   */
  nextAt(leases: number, isUsedUp: boolean): number {
    const left = this.#left - leases;
    // What is out will tell whether that is still so.
    if (left >= this.#replicas) return this.#isTold || leases === 0 ? this.#beyondAt : Infinity;
    return left > 0 && !isUsedUp ? this.#claimAt : Infinity;
  }

  /** When the one with so many `ahead` of it may go like that, if nobody else takes what is left. */
  nthAt(ahead: number, leases: number, isUsedUp: boolean, paceMs: number): number {
    const left = this.#left - leases;
    if (ahead >= (isUsedUp ? left - this.#replicas + 1 : left)) return Infinity;
    const isForAll = left >= this.#replicas;
    return isForAll ? this.#beyondAt + ahead * paceMs : this.#claimAt + ahead * this.whole(paceMs);
  }

  /** The API said at `at` what it has left, in answer to what was granted at `grantedAt`. */
  heard(left: number, at: number, grantedAt: number): void {
    if (!this.isPart) return;
    this.#heardAt = at;
    this.#left = left;
    this.#isTold ||= grantedAt >= this.#tellsAt;
  }

  /** One was spent without an answer that tells of it. */
  spent(): void {
    if (this.isPart) this.#left--;
  }

  /** So many of what we spent came back. */
  cameBack(count: number): void {
    if (this.isPart) this.#left += count;
  }

  /** From now on only what is granted a while later tells what the others leave. */
  #watch(now: number): void {
    this.#tellsAt = now + OTHERS_MS;
    this.#isTold = false;
  }

  /** Whether that is so long ago that others may have spent it. */
  isOld(now: number): boolean {
    return this.#heardAt !== undefined && now - this.#heardAt > OTHERS_MS;
  }
}

/** All of a budget that is nobody else's: what it is for most buckets, so they have it in common. */
export const WHOLE = new Share(1, 0);
