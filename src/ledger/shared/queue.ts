import type { Clock, Timer } from '../../util/clock.ts';
import { IdTable } from '../../util/id-table.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import { Deadlines, type Due } from '../deadlines.ts';
import type { Waiter } from '../transfer.ts';
import type { Cancelled, Granted, RemoveListener, Shed, Ticket } from '../ledger.ts';

/** A ticket that waits in the shared queue, or is on its way there. */
export interface RemoteWaiter extends Waiter, LinkedListItem<RemoteWaiter>, Due {
  /** How the shared ledger knows it (see Ids). */
  readonly number: number;
  /** Whether it was in the queue before: then the forecast does not judge it again. */
  hasWaited: boolean;
  /** Rings when a parked ticket may queue. */
  parkedFor: Timer | undefined;
  removeListener: RemoveListener;
}

export interface WaitingHereOptions {
  readonly clock: Clock;
  /** The last moment at which an attempt may start here. */
  readonly latest: (ticket: Ticket) => number;
  /** How long a ticket that may not wait waits all the same: a step has to answer it. */
  readonly answerMs: number;
  /** What to tell a ticket whose moment passed. */
  readonly tooLate: (ticket: Ticket) => Shed;
  /** Something is there for the next step: a ticket, or the news that one left. */
  readonly onNews: () => void;
}

/**
 * One bucket's tickets of this replica, and what the shared queue has to hear of them: which are
 * new there, and which are gone.
 */
export class SharedQueue {
  readonly #options: WaitingHereOptions;
  readonly #queued = new IdTable<RemoteWaiter>();
  /** Those that no step has carried in this epoch. */
  readonly #toSend = new LinkedList<RemoteWaiter>();
  /** Tickets that may not queue yet: the API throttled them and not the bucket. */
  readonly #parked = new LinkedList<RemoteWaiter>();
  #gone: number[] = [];
  readonly #deadlines: Deadlines<RemoteWaiter>;

  constructor(options: WaitingHereOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (waiter) => {
      this.leave(waiter, options.tooLate(waiter.ticket));
    });
  }

  /** How many wait in the queue; those that may not queue yet are none of them. */
  get queued(): number {
    return this.#queued.size;
  }

  get size(): number {
    return this.#queued.size + this.#parked.size;
  }

  /** How much the next step has to tell. */
  get untold(): number {
    return this.#toSend.size + this.#gone.length;
  }

  get all(): RemoteWaiter[] {
    return [...this.#queued.all, ...this.#parked.all];
  }

  add(from: Waiter, number: number, hasWaited: boolean): void {
    const { clock, latest, answerMs, onNews } = this.#options;
    const { ticket, signal, tell, isRetry, notBefore } = from;
    const now = clock.now();
    const latestAt = latest(ticket);
    const isFirst = !hasWaited && !isRetry;
    const waiter: RemoteWaiter = {
      ticket,
      signal,
      tell,
      isRetry,
      notBefore,
      number,
      hasWaited,
      parkedFor: undefined,
      removeListener: () => undefined,
      dueAt: latestAt <= now && isFirst ? now + answerMs : latestAt,
      heapIndex: -1,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    waiter.removeListener = signal.onGone(() => this.leave(waiter, { kind: 'cancelled' }));
    this.#deadlines.add(waiter);
    if (notBefore <= now) return this.#enqueue(waiter);
    this.#parked.add(waiter);
    waiter.parkedFor = clock.after(notBefore - now, () => {
      this.#parked.delete(waiter);
      this.#enqueue(waiter);
      onNews();
    });
  }

  /** Ends the wait of one that the shared queue may still hold, and has it told so. */
  leave(waiter: RemoteWaiter, outcome: Shed | Cancelled): void {
    const wasQueued = this.#queued.delete(waiter);
    if (wasQueued && !this.#toSend.delete(waiter)) this.#gone.push(waiter.number);
    this.#parked.delete(waiter);
    this.tell(waiter, outcome);
    this.#options.onNews();
  }

  /** The first of those that wait, if the shared queue knows of none of them. */
  get firstUntold(): RemoteWaiter | undefined {
    return this.#toSend.size === this.#queued.size ? this.#toSend.first : undefined;
  }

  /** Takes out one that the shared queue no longer holds; its caller is not told yet. */
  take(number: number): RemoteWaiter | undefined {
    const waiter = this.#queued.get(number);
    if (waiter === undefined) return undefined;
    this.#queued.delete(waiter);
    this.#toSend.delete(waiter);
    this.#forgetTimers(waiter);
    return waiter;
  }

  tell(waiter: RemoteWaiter, outcome: Granted | Shed | Cancelled): void {
    this.#forgetTimers(waiter);
    waiter.removeListener();
    waiter.tell(outcome);
  }

  /** What the next step carries; from then on it has been told. */
  nextTickets(most: number): RemoteWaiter[] {
    const next: RemoteWaiter[] = [];
    while (next.length < most) {
      const waiter = this.#toSend.first;
      if (waiter === undefined) break;
      this.#toSend.delete(waiter);
      next.push(waiter);
    }
    return next;
  }

  nextGone(most: number): number[] {
    return this.#gone.splice(0, most);
  }

  /** Everything has to be told anew, and first what a step that is void now would have told. */
  tellAnew(gone: readonly number[]): void {
    this.#gone.unshift(...gone);
    for (const waiter of this.#queued.all) if (!waiter.isLinked) this.#toSend.add(waiter);
  }

  /** Gives all away. `leaves`: the shared queue is told that they are gone. */
  empty({ leaves }: { leaves: boolean }): RemoteWaiter[] {
    const { all } = this;
    for (const waiter of this.#parked.all) {
      waiter.parkedFor?.cancel();
      this.#parked.delete(waiter);
    }
    // One by one: there may be more of them than a call takes arguments.
    for (const waiter of this.#queued.all) {
      const wasSent = !this.#toSend.delete(waiter);
      if (leaves && wasSent) this.#gone.push(waiter.number);
    }
    this.#queued.clear();
    this.#deadlines.clear();
    for (const waiter of all) waiter.removeListener();
    return all;
  }

  /** Whoever comes after its own first step did wait. */
  haveWaited(waiters: readonly RemoteWaiter[]): void {
    for (const waiter of waiters) {
      if (this.#queued.get(waiter.number) === waiter) waiter.hasWaited = true;
    }
  }

  #enqueue(waiter: RemoteWaiter): void {
    this.#queued.add(waiter);
    this.#toSend.add(waiter);
  }

  #forgetTimers(waiter: RemoteWaiter): void {
    this.#deadlines.delete(waiter);
    waiter.parkedFor?.cancel();
  }
}
