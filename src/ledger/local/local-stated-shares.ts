import type { QueueItem } from '../../queue/flow.ts';
import type { StatedShares } from '../../queue/caller-rules.ts';
import type { LocalBudget } from './local-budget.ts';

/** What a caller used of its stated share at one time, and how many of its tickets are queued. */
interface Use {
  used: number;
  usedAt: number;
  waiting: number;
}

/** What the callers whose shares are stated used of one bucket, in this process. */
export class LocalStatedShares {
  readonly #budget: LocalBudget;
  /** Callers whose shares are stated, so there are few. */
  readonly #uses = new Map<string, Use>();
  /** How many tickets of all of them are queued. */
  #waiting = 0;

  constructor(budget: LocalBudget) {
    this.#budget = budget;
  }

  /** Whether a ticket of such a caller is queued. */
  get isWaitedFor(): boolean {
    return this.#waiting > 0;
  }

  /** Counts a ticket that was queued, or that left the queue if `change` is negative. */
  countWaiting(shares: StatedShares, { caller }: QueueItem, change: number): void {
    const use = this.#useOf(shares, caller);
    if (use === undefined) return;
    const waiting = Math.max(0, use.waiting + change);
    this.#waiting += waiting - use.waiting;
    use.waiting = waiting;
  }

  /** A request was granted. */
  granted(
    shares: StatedShares,
    { caller, cost = this.#budget.callCost }: QueueItem,
    now: number,
  ): void {
    const use = this.#useOf(shares, caller);
    if (use === undefined) return;
    use.used = this.#budget.usedOfShare(use.used, use.usedAt, now) + cost;
    use.usedAt = now;
    this.update(shares, now);
  }

  /** Brings up to date what is kept for such callers. */
  update({ parts, total }: StatedShares, now: number): void {
    let owed = 0;
    for (const [caller, part] of parts) owed += this.#owed(part, caller, now);
    this.#budget.setStated(total, owed);
  }

  /** How many operations a caller has not used of its share; 0 for one without a share. */
  owed({ parts }: StatedShares, caller: string, now: number): number {
    const part = parts.get(caller);
    return part === undefined ? 0 : this.#owed(part, caller, now);
  }

  /** How many tickets of a caller are queued, if it has a share. */
  waitingOf(caller: string): number {
    return this.#uses.get(caller)?.waiting ?? 0;
  }

  #owed(part: number, caller: string, now: number): number {
    const { used = 0, usedAt = now } = this.#uses.get(caller) ?? {};
    return this.#budget.owed(part, used, usedAt, now);
  }

  #useOf({ parts }: StatedShares, caller: string): Use | undefined {
    const known = this.#uses.get(caller);
    if (known !== undefined || !parts.has(caller)) return known;
    // A reload can have removed shares.
    for (const [name, { waiting }] of this.#uses) {
      if (!parts.has(name) && waiting === 0) this.#uses.delete(name);
    }
    const use: Use = { used: 0, usedAt: 0, waiting: 0 };
    this.#uses.set(caller, use);
    return use;
  }
}
