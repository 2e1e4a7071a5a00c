import type { GrantKind } from '../../budget/bucket.ts';
import { DEFAULT_SPREAD } from '../../budget/reserve.ts';
import type { StatedShares } from '../../queue/caller-rules.ts';
import { type QueueItem, useOf } from '../../queue/flow.ts';
import { MemoryOwners } from '../../queue/memory-owners.ts';
import { hasModestOwner, isModest, mayModestWait } from '../../queue/recent-owners.ts';
import type { BucketOptions } from '../ledger.ts';
import type { LocalBudget } from './local-budget.ts';
import { LocalStatedShares } from './local-stated-shares.ts';

/** How many grants of a period are recorded at least while much is left. */
const SAMPLES_PER_PERIOD = 100;

/** What the reserve and the stated shares of a bucket mean for one request. */
export type Reserved =
  /** It may be granted. */
  | 'no'
  /** It may be granted, and spends an operation that is kept for owners like its own. */
  | 'used'
  /** It may be granted if no ticket of a modest owner waits. */
  | 'after-modest'
  /** It waits, and only a ticket of a modest owner may be granted. */
  | 'yes'
  /** It waits, because what is left is kept for callers whose shares are stated. */
  | 'stated';

/**
 * One bucket's reserve in this process: which owners used it lately, what callers used of their stated
 * shares, and whether that keeps a request waiting (docs/decisions/0028, 0048).
 */
export class LocalReserve {
  readonly #budget: LocalBudget;
  readonly #options: Pick<BucketOptions, 'spread' | 'shares'>;
  readonly #owners = new MemoryOwners();
  /** Created while shares are stated. */
  #shares: LocalStatedShares | undefined;
  /** When a grant was recorded last. */
  #recordedAt = -Infinity;

  /** `options` may change while the bucket lives. */
  constructor(budget: LocalBudget, options: Pick<BucketOptions, 'spread' | 'shares'>) {
    this.#budget = budget;
    this.#options = options;
  }

  // What happened at the bucket.

  /** An item was added to the queue. */
  queued(item: QueueItem, now: number): void {
    this.#countInShare(item, 1);
    if (this.#spread === 0) return;
    this.#see(item.owner, 0, now);
    this.#owners.countWaiting(item.owner, useOf(item));
  }

  /** An item left the queue. */
  unqueued(item: QueueItem): void {
    this.#countInShare(item, -1);
    if (this.#spread > 0) this.#owners.countWaiting(item.owner, -useOf(item));
  }

  /** A request was granted. */
  granted(item: QueueItem, now: number): void {
    const { shares } = this.#options;
    if (shares !== undefined) this.#ofCallers.granted(shares, item, now);
    if (this.#spread === 0) return;
    if (this.#isShared) {
      const { periodMs = Infinity } = this.#budget;
      const isWide = this.#budget.available >= 2 * this.#budget.maxKept(this.#spread);
      // While much is left, some of the grants show who uses the bucket.
      if (isWide && now - this.#recordedAt < periodMs / SAMPLES_PER_PERIOD) return;
      this.#recordedAt = now;
    }
    this.#see(item.owner, useOf(item), now);
  }

  /** Brings up to date what is kept, which forecasts take into account. */
  update(now: number): void {
    this.updateShares(now);
    const { periodMs, available } = this.#budget;
    if (available <= 0) return;
    // An owner alone is never kept waiting.
    const isNeeded = this.#isShared && periodMs !== undefined;
    const has = isNeeded && hasModestOwner(this.#owners.survey(periodMs, now));
    this.#budget.spread = has ? this.#spread : 0;
  }

  /** Brings up to date what is kept for callers whose shares are stated. */
  updateShares(now: number): void {
    const { shares } = this.#options;
    if (shares !== undefined) {
      this.#ofCallers.update(shares, now);
    } else if (this.#shares !== undefined) {
      this.#shares = undefined;
      this.#budget.clearStated();
    }
  }

  // Whether a request waits, and whether it may go before others.

  /** Whether the reserve keeps a request waiting that is offered a grant of this kind. */
  keeps(item: QueueItem, kind: GrantKind, isQueued: boolean, now: number): Reserved {
    const { shares } = this.#options;
    if (shares === undefined && !this.#isShared) return 'no';
    if (!this.#budget.mayKeep(kind)) return 'no';
    const { cost = this.#budget.callCost } = item;
    let forCallers = 0;
    if (shares !== undefined) {
      this.updateShares(now);
      const left = this.#budget.available - cost;
      if (this.isInShare(item, now)) {
        return left >= 0 && left < this.#budget.keptForCallers(now) ? 'used' : 'no';
      }
      forCallers = this.#keptForOthers(shares, item, now);
      if (forCallers > 0 && left < forCallers) return 'stated';
      if (!this.#isShared) return 'no';
    }
    // The reserve is a part of what the shares of callers leave.
    if (!this.#budget.isScarce(this.#spread, cost + forCallers)) return 'no';
    this.update(now);
    if (this.#budget.spread === 0) return 'no';
    const isKept = this.#budget.isKept(now, cost + forCallers);
    if (this.#isModest(item, isQueued, now)) return isKept ? 'used' : 'no';
    return isKept ? 'yes' : 'after-modest';
  }

  /** Whether a request may use the reserve that is offered a grant of this kind. */
  mayUse(item: QueueItem, kind: GrantKind | undefined, isQueued: boolean, now: number): boolean {
    if (!this.#budget.mayKeep(kind) || !this.#isModest(item, isQueued, now)) return false;
    const { shares } = this.#options;
    if (shares === undefined) return true;
    const { cost = this.#budget.callCost } = item;
    const forCallers = this.#keptForOthers(shares, item, now);
    return forCallers === 0 || this.#budget.available - cost >= forCallers;
  }

  /** Whether a queued ticket may use the reserve; it need not be searched if not. */
  mayBeUsed(now: number): boolean {
    const { periodMs } = this.#budget;
    return periodMs !== undefined && mayModestWait(this.#owners.survey(periodMs, now));
  }

  /**
   * Whether the stated share of its caller covers a request, with `before` operations of the caller before
   * it. The request then goes before those of all others.
   */
  isInShare(item: QueueItem, now: number, before = 0): boolean {
    const { shares } = this.#options;
    if (shares === undefined || !shares.parts.has(item.caller)) return false;
    const { cost = this.#budget.callCost } = item;
    return this.#ofCallers.owed(shares, item.caller, now) >= before + cost;
  }

  /** Whether a new request may go before the next ticket, which costs `nextCost`, by its caller's share. */
  mayPass(item: QueueItem, nextCost: number | undefined, now: number): boolean {
    if (!this.isInShare(item, now) || this.waitingInShare(item) > 0) return false;
    return this.#budget.fitsBesideShares(nextCost ?? this.#budget.callCost);
  }

  /** Whether a queued ticket may go before the next one; it need not be searched if not. */
  mayBePassed(nextCost: number | undefined): boolean {
    if (this.#shares?.isWaitedFor !== true) return false;
    return this.#budget.fitsBesideShares(nextCost ?? this.#budget.callCost);
  }

  /** How many tickets of its caller are queued, if that has a share. */
  waitingInShare({ caller }: QueueItem): number {
    return this.#shares?.waitingOf(caller) ?? 0;
  }

  // How much is kept.

  /** How many operations the reserve and the stated shares keep at `now`. */
  kept(now: number): number {
    this.update(now);
    return this.#budget.kept(now) + this.#budget.keptForCallers(now);
  }

  /** How many of the operations that are available are kept. */
  keptNow(now: number): number {
    if (!this.#isShared && this.#options.shares === undefined) return 0;
    return Math.min(this.kept(now), Math.max(0, this.#budget.available));
  }

  /** How many operations are kept from a request for callers other than its own. */
  #keptForOthers(shares: StatedShares, item: QueueItem, now: number): number {
    const { cost = this.#budget.callCost } = item;
    const own = this.#ofCallers.owed(shares, item.caller, now);
    return this.#budget.keptForOthers(own, cost, now);
  }

  // Who used the bucket.

  #isModest(item: QueueItem, isQueued: boolean, now: number): boolean {
    const { periodMs } = this.#budget;
    if (periodMs === undefined) return true;
    const own = isQueued ? useOf(item) : 0;
    const demand = this.#owners.demandOf(item.owner, periodMs, now) - own;
    return isModest(this.#owners.survey(periodMs, now), demand);
  }

  #see(owner: string, use: number, now: number): void {
    this.#owners.see(owner, use, this.#budget.periodMs, now);
  }

  #countInShare(item: QueueItem, change: number): void {
    const { shares } = this.#options;
    if (shares !== undefined) this.#ofCallers.countWaiting(shares, item, change);
  }

  get #ofCallers(): LocalStatedShares {
    return (this.#shares ??= new LocalStatedShares(this.#budget));
  }

  get #isShared(): boolean {
    return this.#owners.size > 1;
  }

  /** Which part of the limit is kept at most. */
  get #spread(): number {
    return this.#options.spread ?? DEFAULT_SPREAD;
  }
}
