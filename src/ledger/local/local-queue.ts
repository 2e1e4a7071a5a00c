import {
  addItem,
  operationsAhead,
  operationsOf,
  removeItem,
  takeItem,
} from '../../queue/fair-queue.ts';
import type { QueuedItem } from '../../queue/flow.ts';
import { type MemoryItem, MemoryQueue } from '../../queue/memory-queue.ts';
import type { Clock } from '../../util/clock.ts';
import type { Cancelled, Granted, Shed, Ticket } from '../ledger.ts';
import type { Waiter } from '../transfer.ts';
import { Waiters, type WaitingTicket } from '../waiters.ts';
import type { LocalReserve } from './local-reserve.ts';

/**
 * A ticket that waits at a bucket of this process. It is in one list at a time, to which its links
 * belong: the parked tickets, or those of its flow.
 */
export interface LocalWaiter extends WaitingTicket<LocalWaiter>, MemoryItem<LocalWaiter> {}

export interface LocalQueueOptions {
  readonly clock: Clock;
  /** Counts what is queued of each owner. */
  readonly reserve: Pick<LocalReserve, 'queued' | 'unqueued'>;
  /** The last moment at which an attempt may start here. */
  readonly latest: (ticket: Ticket) => number;
  /** The outcome for a ticket whose deadline has passed. */
  readonly tooLate: (ticket: Ticket) => Shed;
  /** A parked ticket was queued. */
  readonly onUnparked: () => void;
  /** A ticket was removed, and none is left in the queue. */
  readonly onEmpty: () => void;
}

/** One bucket's tickets in this process: queued in their fair order, or parked. */
export class LocalQueue {
  readonly #options: LocalQueueOptions;
  readonly #waiters: Waiters<LocalWaiter>;
  readonly #queue = new MemoryQueue<LocalWaiter>();

  constructor(options: LocalQueueOptions) {
    this.#options = options;
    this.#waiters = new Waiters({
      clock: options.clock,
      onUnparked: (waiter) => {
        this.#enqueue(waiter);
        options.onUnparked();
      },
      onOver: (waiter, reason) => {
        const outcome = reason === 'gone' ? CANCELLED : options.tooLate(waiter.ticket);
        this.remove(waiter, outcome);
      },
    });
  }

  /** How many tickets are queued, without those that are parked. */
  get queued(): number {
    return this.#queue.size;
  }

  /** With the parked tickets, which take as much room. */
  get size(): number {
    return this.#queue.size + this.#waiters.parkedCount;
  }

  get all(): LocalWaiter[] {
    return [...this.#queue.items(), ...this.#waiters.parked];
  }

  /** How many operations the queued tickets are; `callCost` for each that states no cost. */
  operations(callCost: number): number {
    return operationsOf(this.#queue.size, this.#queue.extra, callCost);
  }

  /** The queued ticket whose turn it is. */
  get head(): LocalWaiter | undefined {
    return this.#queue.head;
  }

  /** When the first deadline passes; `Infinity` when no ticket waits. */
  get firstDueAt(): number {
    return this.#waiters.firstDueAt;
  }

  /** The queued ticket whose turn is last. */
  get last(): LocalWaiter | undefined {
    return this.#queue.last;
  }

  /** How many operations would be granted before this ticket's. */
  ahead(item: QueuedItem, callCost: number): number {
    return operationsAhead(this.#queue, item, callCost) ?? this.operations(callCost);
  }

  /** Adds a ticket, to the queue unless it has to be parked; returns whether it is queued. */
  add(from: Waiter): boolean {
    const waiter = toLocalWaiter(from, this.#options.latest(from.ticket));
    const mayQueue = this.#waiters.add(waiter);
    if (mayQueue) this.#enqueue(waiter);
    return mayQueue;
  }

  /** The first of the tickets at the head of a flow, in their fair order, that `isWanted`. */
  firstHead(isWanted: (waiter: LocalWaiter) => boolean): LocalWaiter | undefined {
    return this.#queue.firstHead(MAX_FLOWS_SEARCHED, isWanted);
  }

  /** Ends the wait of a ticket whose turn it is. */
  grant(waiter: LocalWaiter, grant: (ticket: Ticket) => Granted): void {
    takeItem(this.#queue, waiter);
    this.#options.reserve.unqueued(waiter);
    this.#waiters.end(waiter, grant(waiter.ticket));
  }

  /** Ends the wait of a ticket, queued or parked. */
  remove(waiter: LocalWaiter, outcome: Shed | Cancelled): void {
    if (waiter.flow !== undefined) {
      removeItem(this.#queue, waiter);
      this.#options.reserve.unqueued(waiter);
    }
    this.#waiters.end(waiter, outcome);
    if (this.#queue.size === 0) this.#options.onEmpty();
  }

  /**
   * Sheds the queued tickets that `refusal` refuses. It receives each in its order, with the number of
   * operations of those before it that stay; `callCost` for each that states no cost.
   */
  judge(callCost: number, refusal: (ticket: Ticket, ahead: number) => Shed | undefined): void {
    let ahead = 0;
    for (const waiter of this.#queue.inOrder()) {
      const refused = refusal(waiter.ticket, ahead);
      if (refused === undefined) ahead += waiter.cost ?? callCost;
      else this.remove(waiter, refused);
    }
  }

  /** Must be called after {@link LocalQueueOptions.latest} changed. */
  updateDeadlines(): void {
    for (const waiter of this.all) {
      this.#waiters.setDeadline(waiter, this.#options.latest(waiter.ticket));
    }
  }

  /** Forgets all tickets. They get no outcome. */
  handOver(): Waiter[] {
    const { all } = this;
    this.#waiters.release(all);
    return all;
  }

  #enqueue(waiter: LocalWaiter): void {
    addItem(this.#queue, waiter);
    this.#options.reserve.queued(waiter, this.#options.clock.now());
  }
}

/** How many flows are searched for one whose owner may use the reserve. */
const MAX_FLOWS_SEARCHED = 16;
const CANCELLED: Cancelled = { kind: 'cancelled' };

function toLocalWaiter(from: Waiter, dueAt: number): LocalWaiter {
  const { ticket, signal, resolve, isRetry, notBefore, number } = from;
  const { owner, caller, priority, weight, cost, arrivedAt } = ticket;
  return {
    ticket,
    signal,
    resolve,
    isRetry,
    notBefore,
    number,
    owner,
    caller,
    priority,
    weight,
    cost,
    arrivedAt,
    paid: isRetry,
    flow: undefined,
    order: 0,
    parking: undefined,
    removeListener: () => undefined,
    dueAt,
    heapIndex: -1,
    isLinked: false,
    previous: undefined,
    next: undefined,
  };
}
