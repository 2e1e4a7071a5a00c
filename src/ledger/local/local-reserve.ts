import type { GrantKind } from '../../budget/bucket.ts';
import { DEFAULT_SPREAD } from '../../budget/reserve.ts';
import { type QueueItem, useOf } from '../../queue/flow.ts';
import { MemoryOwners } from '../../queue/memory-owners.ts';
import { hasModestOwner, isModest, mayModestWait } from '../../queue/recent-owners.ts';
import type { BucketOptions } from '../ledger.ts';
import type { LocalBudget } from './local-budget.ts';

/** How many grants of a period are recorded at least while much is left. */
const SAMPLES_PER_PERIOD = 100;

/** What the reserve of a bucket is, for one request. */
export type Reserved =
  /** It may be granted. */
  | 'no'
  /** It may be granted, and spends an operation that is kept for owners like its own. */
  | 'used'
  /** It may be granted if no ticket of a modest owner waits. */
  | 'after-modest'
  /** It waits, and only a ticket of a modest owner may be granted. */
  | 'yes';

/**
 * One bucket's reserve in this process: which owners used it lately, and whether that keeps a request
 * waiting (docs/decisions/0028).
 */
export class LocalReserve {
  readonly #budget: LocalBudget;
  readonly #options: Pick<BucketOptions, 'spread'>;
  readonly #owners = new MemoryOwners();
  /** When a grant was recorded last. */
  #recordedAt = -Infinity;

  /** `options.spread` may change while the bucket lives. */
  constructor(budget: LocalBudget, options: Pick<BucketOptions, 'spread'>) {
    this.#budget = budget;
    this.#options = options;
  }

  /** An item was added to the queue. */
  queued(item: QueueItem, now: number): void {
    if (this.#spread === 0) return;
    this.#see(item.owner, 0, now);
    this.#owners.countWaiting(item.owner, useOf(item));
  }

  /** An item left the queue. */
  unqueued(item: QueueItem): void {
    if (this.#spread > 0) this.#owners.countWaiting(item.owner, -useOf(item));
  }

  /** A request was granted. */
  granted(item: QueueItem, now: number): void {
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

  /** Brings up to date whether there is a reserve, which forecasts take into account. */
  update(now: number): void {
    const { periodMs, available } = this.#budget;
    if (available <= 0) return;
    // An owner alone is never kept waiting.
    const isNeeded = this.#isShared && periodMs !== undefined;
    const has = isNeeded && hasModestOwner(this.#owners.survey(periodMs, now));
    this.#budget.spread = has ? this.#spread : 0;
  }

  /** Whether the reserve keeps a request waiting that is offered a grant of this kind. */
  keeps(item: QueueItem, kind: GrantKind, isQueued: boolean, now: number): Reserved {
    if (!this.#isShared || !this.#budget.mayKeep(kind)) return 'no';
    if (!this.#budget.isScarce(this.#spread, item.cost)) return 'no';
    this.update(now);
    if (this.#budget.spread === 0) return 'no';
    const isKept = this.#budget.isKept(now, item.cost);
    if (this.#isModest(item, isQueued, now)) return isKept ? 'used' : 'no';
    return isKept ? 'yes' : 'after-modest';
  }

  /** Whether a request may use the reserve that is offered a grant of this kind. */
  mayUse(item: QueueItem, kind: GrantKind | undefined, isQueued: boolean, now: number): boolean {
    return this.#budget.mayKeep(kind) && this.#isModest(item, isQueued, now);
  }

  /** Whether a queued ticket may use the reserve; it need not be searched if not. */
  mayBeUsed(now: number): boolean {
    const { periodMs } = this.#budget;
    return periodMs !== undefined && mayModestWait(this.#owners.survey(periodMs, now));
  }

  /** How many operations are kept now, if nothing waits. */
  kept(now: number): number {
    this.update(now);
    return this.#budget.kept(now);
  }

  /** How many of the operations that are available are kept. */
  keptNow(now: number): number {
    return this.#isShared ? Math.min(this.kept(now), Math.max(0, this.#budget.available)) : 0;
  }

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

  /** Which part of the limit is kept at most. */
  get #spread(): number {
    return this.#options.spread ?? DEFAULT_SPREAD;
  }

  get #isShared(): boolean {
    return this.#owners.size > 1;
  }
}
