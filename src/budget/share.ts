/** How long others may need to spend their parts, if they want them at all. */
const OTHERS_FIRST_MS = 1000;
/** Into so many bursts a part falls at the most; what comes in smaller ones comes all the time. */
const BURSTS_PER_SHARE = 4;

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
  #borrowAt: number;
  /** When we may next claim of our own part what others seem to go beyond theirs with. */
  #reclaimAt: number;
  #reservedUntil: number | undefined;
  #observedAt: number | undefined;
  /**
   * What the API has left, as far as we know: as it said, with what came back to us since and
   * without what we spent and had no answer to.
   */
  #totalRemaining = 0;
  /** From when on a grant's answer tells what the others leave of what all began to spend. */
  #measuresFrom: number;
  /** Whether there was such an answer. */
  #isMeasured = false;

  /** From now on so many replicas have a part each. */
  constructor(replicas: number, now: number) {
    this.#replicas = replicas;
    this.#borrowAt = now + OTHERS_FIRST_MS;
    this.#reclaimAt = now + OTHERS_FIRST_MS;
    this.#measuresFrom = now + OTHERS_FIRST_MS;
  }

  /** Whether there are others, who are sure to spend theirs. */
  get isShared(): boolean {
    return this.#replicas > 1;
  }

  /** Until when one is kept, on our clock; `undefined` when none is. */
  get reservedUntil(): number | undefined {
    return this.#reservedUntil;
  }

  /** Our part of what the API has left. */
  shareOf(total: number): number {
    return Math.floor(total / this.#replicas);
  }

  /** Our part of the API's limit. */
  limitOf(totalLimit: number): number {
    return Math.max(1, this.shareOf(totalLimit));
  }

  /** What `ours` is a part of. */
  totalOf(own: number): number {
    return own * this.#replicas;
  }

  /** How much of `remaining` is of our own part, of whose `limit` so much is out. */
  ownRemaining(remaining: number, limit: number, slots: number): number {
    if (!this.isShared) return remaining;
    return Math.min(remaining, limit - slots) - (this.#reservedUntil === undefined ? 0 : 1);
  }

  /** How many slots of ours may be out, where `remaining` of our part of the limit are not. */
  maxSlots(limit: number, remaining: number): number {
    return this.isShared ? this.totalOf(limit) : limit - remaining;
  }

  /** All may begin to spend their parts now. One of `own` is kept, to ask later what the others leave. */
  startSpending(now: number, own: number): void {
    if (!this.isShared) return;
    this.#measureLater(now);
    if (own > 1) this.#reservedUntil = now + OTHERS_FIRST_MS;
  }

  advance(now: number): void {
    if (this.#reservedUntil !== undefined && this.#reservedUntil <= now)
      this.#reservedUntil = undefined;
  }

  /**
   * One is granted, after which so many of our own part of the limit are there. Beyond them one goes
   * each `paceMs`.
   */
  granted(now: number, own: number, limit: number, paceMs: number): void {
    if (!this.isShared) return;
    // Where much of ours is there at once, so is much of the others'.
    const isBurst = own > 0 && own * BURSTS_PER_SHARE >= limit;
    if (isBurst) this.#measureLater(now);
    this.#borrowAt = Math.max(this.#borrowAt, now + (isBurst ? OTHERS_FIRST_MS : paceMs));
    this.#reclaimAt = Math.max(this.#borrowAt, now + this.totalOf(paceMs));
  }

  /**
   * When one may go that {@link own} has no room for, while so many of ours are under way: on our
   * clock, and infinitely far when the API has too little left. `isUsedUp`: our part of the limit is.
   */
  nextExtraAt(inFlight: number, isUsedUp: boolean): number {
    const left = this.#totalRemaining - inFlight;
    // What is out will tell whether that is still so.
    if (left >= this.#replicas)
      return this.#isMeasured || inFlight === 0 ? this.#borrowAt : Infinity;
    return left > 0 && !isUsedUp ? this.#reclaimAt : Infinity;
  }

  /** When the one with so many `ahead` of it may go like that, if nobody else takes what is left. */
  nthExtraAt(ahead: number, inFlight: number, isUsedUp: boolean, paceMs: number): number {
    const left = this.#totalRemaining - inFlight;
    if (ahead >= (isUsedUp ? left - this.#replicas + 1 : left)) return Infinity;
    const isForAll = left >= this.#replicas;
    return isForAll
      ? this.#borrowAt + ahead * paceMs
      : this.#reclaimAt + ahead * this.totalOf(paceMs);
  }

  /** The API said at `at` what it has left, in answer to what was granted at `grantedAt`. */
  observed(totalRemaining: number, at: number, grantedAt: number): void {
    if (!this.isShared) return;
    this.#observedAt = at;
    this.#totalRemaining = totalRemaining;
    this.#isMeasured ||= grantedAt >= this.#measuresFrom;
  }

  /** One was spent without an answer that tells of it. */
  spent(): void {
    if (this.isShared) this.#totalRemaining--;
  }

  /** So many of what we spent came back. */
  returned(count: number): void {
    if (this.isShared) this.#totalRemaining += count;
  }

  /** From now on only what is granted a while later tells what the others leave. */
  #measureLater(now: number): void {
    this.#measuresFrom = now + OTHERS_FIRST_MS;
    this.#isMeasured = false;
  }

  /** Whether that is so long ago that others may have spent it. */
  isStale(now: number): boolean {
    return this.#observedAt !== undefined && now - this.#observedAt > OTHERS_FIRST_MS;
  }
}

/** All of a budget that is nobody else's: what it is for most buckets, so they have it in common. */
export const WHOLE_BUDGET = new Share(1, 0);

/** What somebody else knows of a budget. Every time is on our clock. */
export interface KnownBudget {
  /** What the API said last; `undefined` when it never did. */
  readonly reported:
    | {
        readonly limit: number;
        readonly remaining: number;
        /** When; just now unless given. */
        readonly at?: number;
        readonly resetAt?: number | undefined;
        readonly uncertaintyMs: number;
        readonly periodMs?: number | undefined;
      }
    | undefined;
  /** Until when the API told us to stay away. */
  readonly blockedUntil: number | undefined;
  /** Operations that come back, by when. */
  readonly slots: Iterable<readonly [at: number, count: number]>;
}
