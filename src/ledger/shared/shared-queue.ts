import type { Clock } from '../../util/clock.ts';
import { IdTable } from '../../util/id-table.ts';
import { LinkedList } from '../../util/linked-list.ts';
import type { Cancelled, Granted, Shed, Ticket } from '../ledger.ts';
import type { Waiter } from '../transfer.ts';
import { Waiters, type WaitingTicket } from '../waiters.ts';
import type { Ids } from './ids.ts';

/** A ticket that waits in the shared queue, or has yet to be reported to it. */
export interface SharedWaiter extends WaitingTicket<SharedWaiter> {
  /** The shared ledger's number of the ticket (see Ids). */
  readonly number: number;
  /** Whether it was in the queue before: then the forecast does not judge it again. */
  hasWaited: boolean;
  /** Whether a step of an epoch that ended carried this number, so that the shared queue may hold it. */
  isRepeated: boolean;
}

export interface SharedQueueOptions {
  readonly clock: Clock;
  /** The last moment at which an attempt may start here. */
  readonly latest: (ticket: Ticket) => number;
  /** How long a ticket that may not wait waits all the same, as a step has to answer it. */
  readonly answerMs: number;
  /** The outcome for a ticket whose deadline has passed. */
  readonly tooLate: (ticket: Ticket) => Shed;
  /** There is something to report: a ticket may queue, or one is gone. */
  readonly onChange: () => void;
}

/**
 * One bucket's tickets at this replica, and what steps have to report of them to the shared queue:
 * which are new, and which are gone.
 */
export class SharedQueue {
  readonly #options: SharedQueueOptions;
  readonly #waiters: Waiters<SharedWaiter>;
  readonly #queued = new IdTable<SharedWaiter>();
  /** Queued tickets that no step has carried in this epoch. */
  readonly #toReport = new LinkedList<SharedWaiter>();
  readonly #gone: number[] = [];
  /** Tickets of the shared queue that the script is to judge again, the oldest first. */
  #toJudge: SharedWaiter[] = [];

  constructor(options: SharedQueueOptions) {
    this.#options = options;
    this.#waiters = new Waiters({
      clock: options.clock,
      onUnparked: (waiter) => {
        this.#enqueue(waiter);
        options.onChange();
      },
      onOver: (waiter, reason) => {
        this.end(
          waiter,
          reason === 'gone' ? { kind: 'cancelled' } : options.tooLate(waiter.ticket),
        );
      },
    });
  }

  /** How many tickets are queued, without those that are parked. */
  get queued(): number {
    return this.#queued.size;
  }

  get parked(): number {
    return this.#waiters.parkedCount;
  }

  get size(): number {
    return this.#queued.size + this.#waiters.parkedCount;
  }

  /** How much the next step has to report. */
  get unreported(): number {
    return this.#toReport.size + this.#gone.length;
  }

  get all(): SharedWaiter[] {
    return [...this.#queued.all, ...this.#waiters.parked];
  }

  /** The first queued ticket, if the shared queue holds no ticket of this replica. */
  get firstUnreported(): SharedWaiter | undefined {
    return this.#toReport.size === this.#queued.size ? this.#toReport.first : undefined;
  }

  add(from: Waiter, number: number, hasWaited: boolean): void {
    const { clock, latest, answerMs } = this.#options;
    const { ticket, signal, resolve, isRetry, notBefore, decision } = from;
    const now = clock.now();
    const latestAt = latest(ticket);
    const isFirst = !hasWaited && !isRetry;
    const waiter: SharedWaiter = {
      ticket,
      signal,
      resolve,
      isRetry,
      notBefore,
      decision,
      number,
      hasWaited,
      isRepeated: from.number === number,
      parking: undefined,
      removeListener: () => undefined,
      dueAt: latestAt <= now && isFirst ? now + answerMs : latestAt,
      heapIndex: -1,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    if (this.#waiters.add(waiter)) this.#enqueue(waiter);
  }

  /** Ends the wait of a ticket that the shared queue may still hold, and reports it as gone. */
  end(waiter: SharedWaiter, outcome: Shed | Cancelled): void {
    const wasQueued = this.#queued.delete(waiter);
    if (wasQueued && !this.#toReport.delete(waiter)) this.#gone.push(waiter.number);
    this.#waiters.end(waiter, outcome);
    this.#options.onChange();
  }

  /** Removes a ticket that the shared queue no longer holds. {@link resolve} or {@link requeue} follows. */
  remove(number: number): SharedWaiter | undefined {
    const waiter = this.#queued.get(number);
    if (waiter === undefined) return undefined;
    this.#queued.delete(waiter);
    this.#toReport.delete(waiter);
    this.#waiters.stopTimers(waiter);
    return waiter;
  }

  /** Ends the wait of a removed ticket. */
  resolve(waiter: SharedWaiter, outcome: Granted | Shed): void {
    this.#waiters.end(waiter, outcome);
  }

  /** Queues a removed ticket again, whose grant could not be used. */
  requeue(waiter: SharedWaiter, number: number): void {
    waiter.removeListener();
    this.add({ ...waiter, isRetry: true, notBefore: 0 }, number, true);
  }

  /** What the next step carries; it counts as reported from then on. */
  nextTickets(most: number): SharedWaiter[] {
    const next: SharedWaiter[] = [];
    while (next.length < most) {
      const waiter = this.#toReport.first;
      if (waiter === undefined) break;
      this.#toReport.delete(waiter);
      next.push(waiter);
    }
    return next;
  }

  nextGone(most: number): number[] {
    return this.#gone.splice(0, most);
  }

  /**
   * All has to be reported again, first the tickets of the failed step that are gone. The next step
   * declares the others as those that waited before, so none is judged again.
   */
  restore(gone: readonly number[]): void {
    this.#toJudge = [];
    this.#gone.unshift(...gone);
    for (const waiter of this.#queued.all) {
      if (waiter.isLinked) continue;
      waiter.isRepeated = true;
      this.#toReport.add(waiter);
    }
  }

  /** When the first deadline passes; `Infinity` when no ticket waits. */
  get firstDueAt(): number {
    return this.#waiters.firstDueAt;
  }

  /**
   * Has the script judge the tickets of the shared queue again whose deadline is before `time`, the
   * oldest first. Has no effect before all earlier ones are judged.
   */
  judgeAgain(time: number): void {
    if (this.#toJudge.length > 0) return;
    const due = this.#queued.all.filter(({ hasWaited, dueAt }) => hasWaited && dueAt < time);
    this.#toJudge = due.sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt);
  }

  /**
   * Reports tickets to judge again as gone and as new ones, which the script sheds if they are hopeless.
   * With them the next step carries at most `most` new tickets. Returns whether it reported any.
   *
   * A step removes no more tickets than it adds: if the queue became shorter meanwhile, the forecast
   * would seem to get later when they are added, and would be judged for ever.
   */
  reportToJudge(most: number, ids: Pick<Ids, 'next'>): boolean {
    const room = most - this.#toReport.size;
    if (this.#toJudge.length === 0 || room <= 0) return false;
    for (const waiter of this.#toJudge.splice(0, room)) this.#reportAnew(waiter, ids.next());
    return true;
  }

  /** Makes the next step carry a ticket as a new one, if it still waits in the shared queue. */
  #reportAnew(waiter: SharedWaiter, number: number): void {
    if (this.#queued.get(waiter.number) !== waiter) return;
    this.remove(waiter.number);
    waiter.removeListener();
    this.#gone.push(waiter.number);
    this.add(waiter, number, false);
  }

  /** Removes all tickets without an outcome. `reportsGone`: the shared queue is to drop them. */
  empty({ reportsGone }: { reportsGone: boolean }): SharedWaiter[] {
    const { all } = this;
    // One by one: there may be more of them than a call takes arguments.
    for (const waiter of this.#queued.all) {
      const wasReported = !this.#toReport.delete(waiter);
      if (reportsGone && wasReported) this.#gone.push(waiter.number);
    }
    this.#queued.clear();
    this.#waiters.release(all);
    return all;
  }

  /** Tickets that are still queued after their first step have waited. */
  markWaited(waiters: readonly SharedWaiter[]): void {
    for (const waiter of waiters) {
      if (this.#queued.get(waiter.number) !== waiter) continue;
      waiter.hasWaited = true;
      waiter.decision?.onWaits?.();
    }
  }

  #enqueue(waiter: SharedWaiter): void {
    this.#queued.add(waiter);
    this.#toReport.add(waiter);
  }
}
