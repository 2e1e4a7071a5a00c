import type { GrantKind } from '../../budget/bucket.ts';
import type { Clock } from '../../util/clock.ts';
import type { HeldGrant } from '../transfer.ts';
import type { Ids } from './ids.ts';
import { LeasesHere, type LeasesTold } from './leases-here.ts';
import type { Grant, Outcome, SocketPermits, Ticket } from '../ledger.ts';
import type { LocalObservation } from '../local-times.ts';
import type { RemoteLease, Settlement } from './step-batch.ts';
import type { StepDone, StepGranted } from './wire.ts';
import { Prefetch } from './prefetch.ts';
import type { SharedQueue } from './queue.ts';

export interface GrantsHereOptions {
  readonly clock: Clock;
  readonly places: SocketPermits;
  readonly ids: Ids;
  readonly waiting: SharedQueue;
  /** Whether the next socket that comes free is some bucket's already. */
  readonly someStarve: () => boolean;
  /** Whether nothing is granted here at present. */
  readonly isPaused: () => boolean;
  /** Whether the last step is so recent that what it gave still stands. */
  readonly isInTouch: () => boolean;
  /** One was taken from stock. `isLow`: it is time to ask for more. */
  readonly onStockUsed: (isLow: boolean) => void;
  /** Something that a step granted cannot be used here. */
  readonly onGivenBack: () => void;
}

/** What one step tells of grants. */
export interface GrantsTold {
  readonly leases: LeasesTold;
  /** What is in stock, with all that was used of it and that the shared state does not know of. */
  readonly stock: number;
  /** So much more of it is asked for. */
  readonly wants: number;
}

/**
 * One bucket's grants at this replica: who of those that wait here gets what steps and stock bring,
 * what is held, and what the shared state has to hear of it.
 */
export class GrantBook {
  readonly #options: GrantsHereOptions;
  readonly #leases: LeasesHere;
  readonly #stock = new Prefetch();
  /** What keeps those who wait, by the last step. */
  #keptBy: 'socket' | 'budget' = 'budget';

  constructor(options: GrantsHereOptions) {
    this.#options = options;
    this.#leases = new LeasesHere(options.ids);
  }

  /** How many are held, or could be given without asking. */
  get size(): number {
    return this.#leases.held + this.#stock.count;
  }

  /** How many ended without a step telling of it. */
  get untold(): number {
    return this.#leases.untold;
  }

  get inStock(): number {
    return this.#stock.count;
  }

  /** How many, held or ended, came from stock without the shared state knowing that yet. */
  get fromStock(): number {
    return this.#leases.fromStock;
  }

  /** A call came: so much stock is needed. */
  called(now: number): void {
    this.#stock.called(now);
  }

  /** Grants at once, from stock; `undefined` when that is not to be had. */
  grantFromStock(ticket: Ticket, now: number): Grant | undefined {
    const { places, someStarve, isPaused, isInTouch, onStockUsed } = this.#options;
    if (!this.#stock.isUsable || isPaused() || !isInTouch()) return undefined;
    // A socket that came free is theirs who waited for it; here a step says who goes next.
    if (someStarve() || !places.take()) return undefined;
    const grant: Grant = { ticket, grantedAt: now, waitedFor: 'nothing' };
    this.#leases.holdFromStock(grant, this.#stock.take());
    onStockUsed(this.#stock.isLow);
    return grant;
  }

  /** Gives what a step granted to the ticket that it is for; says whether a socket was free for it. */
  take(entry: StepGranted, isOffer: boolean): boolean {
    const { waiting, ids, places, clock, isPaused } = this.#options;
    const [id] = entry;
    const waiter = waiting.take(ids.numberOf(id));
    if (waiter === undefined) {
      // Granted twice over, by message and by step; or its caller left before the grant came.
      if (!this.#leases.has(id)) this.#giveBack(entry);
      return true;
    }
    if (isPaused() || !places.take()) {
      this.#giveBack(entry);
      waiting.add({ ...waiter, isRetry: true, notBefore: 0 }, ids.next(), true);
      return false;
    }
    const waitedFor = waiter.hasWaited || isOffer ? this.#keptBy : 'nothing';
    const grant: Grant = { ticket: waiter.ticket, grantedAt: clock.now(), waitedFor };
    this.#leases.hold(grant, entry, { isOffer });
    waiting.tell(waiter, { kind: 'granted', grant });
    return true;
  }

  /** Goes on with a grant that another ledger gave. */
  adopt(grant: Grant, kind: GrantKind): void {
    this.#leases.adopt(grant, kind);
  }

  /** Takes it off the books here; throws when it is not on them. */
  settle(
    grant: Grant,
    outcome: Outcome['kind'],
    said: LocalObservation | undefined,
    random: number,
  ): RemoteLease {
    // What was given before this was known is no longer to be counted on.
    if (said?.status === 429) this.recall();
    return this.#leases.settle(grant, outcome, said, random);
  }

  /** Nothing in stock is to be used any more: the next step gives it back. */
  recall(): void {
    this.#stock.recall();
  }

  /** What a step tells now: of all that is held if it `declares`, and of so many ends at most. */
  tell(declares: boolean, most: number, now: number): GrantsTold {
    if (this.#options.isPaused()) this.recall();
    const wants = this.#stock.ask(now);
    const leases = this.#leases.tell(declares ? 'all' : 'news', most, now);
    return { leases, stock: this.#stock.count + this.#leases.fromStock, wants };
  }

  /** A step was answered by another state than those before. */
  changeLineage(): void {
    this.#leases.changeLineage();
  }

  /** A step was answered, and what it granted was taken. */
  heard(done: StepDone): void {
    this.#keptBy = this.#whatKeeps(done);
    this.#stock.heard(done.stock);
  }

  /** Those who came while a step was under way need none of their own if it brought stock. */
  serveFromStock(): void {
    const { waiting, clock } = this.#options;
    const now = clock.now();
    let waiter = waiting.firstUntold;
    while (waiter !== undefined) {
      const grant = this.grantFromStock(waiter.ticket, now);
      if (grant === undefined) return;
      waiting.take(waiter.number);
      waiting.tell(waiter, { kind: 'granted', grant });
      waiter = waiting.firstUntold;
    }
  }

  /** The epoch is over, and with it the step that told this, if one did. */
  revoke(told: GrantsTold | undefined): void {
    this.#stock.forget();
    if (told !== undefined) this.#leases.tellAnew(told.leases);
  }

  /** Operations that were spent here and that no step has told of, beside those under way. */
  unshared(underWay: readonly Settlement[]): number {
    return this.#leases.unshared(underWay);
  }

  handOver(): HeldGrant[] {
    return this.#leases.handOver();
  }

  #giveBack(entry: StepGranted): void {
    this.#leases.giveBack(entry, this.#options.clock.now());
    this.#options.onGivenBack();
  }

  #whatKeeps({ wakeIn }: StepDone): 'socket' | 'budget' {
    // What a pause holds back comes all at once, as after a reset.
    if (this.#options.isPaused()) return 'budget';
    // Where only a socket is missing no time tells when there is one.
    if (wakeIn === undefined) return 'socket';
    // No more fitted into the step: the rest waits for what it waited for before.
    return wakeIn > 0 ? 'budget' : this.#keptBy;
  }
}
