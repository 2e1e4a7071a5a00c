/** How long the other replicas have to spend their own shares first. */
const OTHERS_FIRST_MS = 1000;
/** A grant belongs to a burst when at least the share's limit divided by this remains after it. */
const BURSTS_PER_SHARE = 4;

/**
 * One replica's share of a budget, while several replicas spend it and cannot coordinate.
 *
 * The share is an equal part of the limit, and at most the same part of what the API reports as
 * remaining. A replica that used up its share may borrow what the others leave unused:
 *
 * - It borrows one operation at a time, at the pace at which the whole budget refills, and only while
 *   at least one remains for every replica.
 * - It waits first, whenever all replicas may start to spend at the same time, so that the others
 *   can spend their own shares.
 * - What remains below that is for replicas that did not use up their shares. Each reclaims one
 *   operation at a time, at the pace of its own share. Replicas that borrowed then see less than one
 *   operation for each replica, and stop until more returns.
 */
export class Share {
  readonly #replicas: number;
  /** When this replica may next borrow. */
  #borrowAt: number;
  /** When this replica may next reclaim an operation of its own share that others borrowed. */
  #reclaimAt: number;
  #reservedUntil: number | undefined;
  #observedAt: number | undefined;
  /**
   * What remains of the whole budget, as far as this replica knows: what the API reported, plus own
   * slots that returned since, minus own operations that were lost since.
   */
  #totalRemaining = 0;
  /** The answer to a request that was granted from then on shows what the other replicas leave. */
  #measuresFrom: number;
  /** Whether such an answer has arrived. */
  #isMeasured = false;

  /** Starts a share at `now`, which is one of `replicas`. */
  constructor(replicas: number, now: number) {
    this.#replicas = replicas;
    this.#borrowAt = now + OTHERS_FIRST_MS;
    this.#reclaimAt = now + OTHERS_FIRST_MS;
    this.#measuresFrom = now + OTHERS_FIRST_MS;
  }

  /** Whether there are other replicas, which must be expected to spend their shares. */
  get isShared(): boolean {
    return this.#replicas > 1;
  }

  /** Until when one operation of the share is reserved; `undefined` when none is. */
  get reservedUntil(): number | undefined {
    return this.#reservedUntil;
  }

  /** Returns this replica's share of a number of operations. */
  shareOf(total: number): number {
    return Math.floor(total / this.#replicas);
  }

  /** Returns this replica's share of the API's limit, which is at least one operation. */
  limitOf(totalLimit: number): number {
    return Math.max(1, this.shareOf(totalLimit));
  }

  /** Returns the total of which `own` is one share. */
  totalOf(own: number): number {
    return own * this.#replicas;
  }

  /** Returns what remains of the share, of whose `limit` this replica has spent `slots`. */
  ownRemaining(remaining: number, limit: number, slots: number): number {
    if (!this.isShared) return remaining;
    return Math.min(remaining, limit - slots) - (this.#reservedUntil === undefined ? 0 : 1);
  }

  /** Returns how many slots this replica can have spent at most. */
  maxSlots(limit: number, remaining: number): number {
    return this.isShared ? this.totalOf(limit) : limit - remaining;
  }

  /**
   * All replicas may start to spend their shares at `now`. Reserves one operation of `own`, whose
   * answer shows later what the others leave.
   */
  startSpending(now: number, own: number): void {
    if (!this.isShared) return;
    this.#measureLater(now);
    if (own > 1) this.#reservedUntil = now + OTHERS_FIRST_MS;
  }

  /** Ends the reservation when its time is over. */
  advance(now: number): void {
    const until = this.#reservedUntil;
    if (until !== undefined && until <= now) this.#reservedUntil = undefined;
  }

  /** Records a grant, after which `own` operations of the share's `limit` are available. */
  granted(now: number, own: number, limit: number, paceMs: number): void {
    if (!this.isShared) return;
    // When much of this share is available at once, so is much of the others'.
    const isBurst = own > 0 && own * BURSTS_PER_SHARE >= limit;
    if (isBurst) this.#measureLater(now);
    this.#borrowAt = Math.max(this.#borrowAt, now + (isBurst ? OTHERS_FIRST_MS : paceMs));
    this.#reclaimAt = Math.max(this.#borrowAt, now + this.totalOf(paceMs));
  }

  /**
   * Returns when a request may be granted beyond {@link ownRemaining}, by borrowing or reclaiming;
   * `Infinity` when too little remains. `isUsedUp`: this replica spent its whole share.
   */
  nextExtraAt(inFlight: number, isUsedUp: boolean): number {
    const remaining = this.#totalRemaining - inFlight;
    if (remaining >= this.#replicas) {
      // A lease in flight will show what the others leave, so it is worth waiting for.
      return this.#isMeasured || inFlight === 0 ? this.#borrowAt : Infinity;
    }
    return remaining > 0 && !isUsedUp ? this.#reclaimAt : Infinity;
  }

  /**
   * Forecasts {@link nextExtraAt} for a request with `ahead` such requests before it. It assumes that
   * no other replica spends what remains.
   */
  nthExtraAt(ahead: number, inFlight: number, isUsedUp: boolean, paceMs: number): number {
    const remaining = this.#totalRemaining - inFlight;
    if (ahead >= (isUsedUp ? remaining - this.#replicas + 1 : remaining)) return Infinity;
    return remaining >= this.#replicas
      ? this.#borrowAt + ahead * paceMs
      : this.#reclaimAt + ahead * this.totalOf(paceMs);
  }

  /** Records what the API reported at `at`, in the answer to a request granted at `grantedAt`. */
  observed(totalRemaining: number, at: number, grantedAt: number): void {
    if (!this.isShared) return;
    this.#observedAt = at;
    this.#totalRemaining = totalRemaining;
    this.#isMeasured ||= grantedAt >= this.#measuresFrom;
  }

  /** Records an operation of this replica that has no observation. */
  spent(): void {
    if (this.isShared) this.#totalRemaining--;
  }

  /** Records that `count` slots of this replica returned. */
  returned(count: number): void {
    if (this.isShared) this.#totalRemaining += count;
  }

  /** Whether the last report is so old that other replicas may have spent what it showed. */
  isStale(now: number): boolean {
    return this.#observedAt !== undefined && now - this.#observedAt > OTHERS_FIRST_MS;
  }

  /** Forgets the measurement, because the other replicas start to spend at `now`. */
  #measureLater(now: number): void {
    this.#measuresFrom = now + OTHERS_FIRST_MS;
    this.#isMeasured = false;
  }
}

/** A budget that is not shared. Most buckets have one, so they use the same object. */
export const WHOLE_BUDGET = new Share(1, 0);

/** What another ledger knew of a budget. All times are on our clock. */
export interface KnownBudget {
  /** What the API reported last; `undefined` when it reported nothing. */
  readonly reported:
    | {
        readonly limit: number;
        readonly remaining: number;
        /** When it was reported; the start of the share unless given. */
        readonly at?: number;
        readonly resetAt?: number | undefined;
        readonly uncertaintyMs: number;
        readonly periodMs?: number | undefined;
      }
    | undefined;
  /** When the API's Retry-After ends. */
  readonly blockedUntil: number | undefined;
  /** This replica's slots: when they return, and how many at that time. */
  readonly slots: Iterable<readonly [at: number, count: number]>;
}
