import type { Clock, Timer } from '../../util/clock.ts';
import { FairQueue, type QueuedItem, type QueueItem } from '../../queue/fair-queue.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import type { Waiter } from '../transfer.ts';
import type { Cancelled, Granted, RemoveListener, Shed, Ticket } from '../ledger.ts';

/** A ticket that waits at a bucket of this process. */
export interface LocalWaiter extends Waiter, QueuedItem<LocalWaiter>, LinkedListItem<LocalWaiter> {
  /** Rings at the deadline. */
  timer: Timer | undefined;
  /** Rings when a parked ticket may queue. */
  parkedFor: Timer | undefined;
  removeListener: RemoveListener;
}

export interface WaitingInLineOptions {
  readonly clock: Clock;
  /** The last moment at which an attempt may start here. */
  readonly latest: (ticket: Ticket) => number;
  /** What to tell a ticket whose moment passed. */
  readonly tooLate: (ticket: Ticket) => Shed;
  /** One that might not queue before does now. */
  readonly onUnparked: () => void;
  /** Somebody went, and nobody is left who might be granted anything. */
  readonly onNobody: () => void;
}

/**
 * One bucket's tickets in this process, in their fair order, and beside it those that may not queue
 * yet. Each ends at its deadline, or when its caller leaves.
 */
export class LocalQueue {
  readonly #options: WaitingInLineOptions;
  readonly #queue = new FairQueue<LocalWaiter>();
  /** Tickets that may not queue yet: the API throttled them and not the bucket. */
  readonly #parked = new LinkedList<LocalWaiter>();

  constructor(options: WaitingInLineOptions) {
    this.#options = options;
  }

  /** How many wait in the queue; those that may not queue yet are none of them. */
  get queued(): number {
    return this.#queue.size;
  }

  /** What is kept out of the queue takes as much room as what is in it. */
  get size(): number {
    return this.#queue.size + this.#parked.size;
  }

  get all(): LocalWaiter[] {
    return [...this.#queue.items(), ...this.#parked.all];
  }

  /** Whose turn would be last; `undefined` when nobody is in the queue. */
  get last(): LocalWaiter | undefined {
    return this.#queue.last;
  }

  /** How many would be granted before one with this turn. */
  ahead(turn: QueueItem): number {
    return this.#queue.ahead(turn);
  }

  /** Lets it wait, in the queue if it may queue already; says whether it may. */
  add(from: Waiter): boolean {
    const { clock } = this.#options;
    const now = clock.now();
    const waiter = toLocalWaiter(from);
    waiter.removeListener = waiter.signal.onGone(() => {
      this.remove(waiter, { kind: 'cancelled' });
    });
    this.#setDeadline(waiter);
    if (waiter.notBefore <= now) {
      this.#enqueue(waiter);
      return true;
    }
    this.#parked.add(waiter);
    waiter.parkedFor = clock.after(waiter.notBefore - now, () => {
      this.#parked.delete(waiter);
      this.#enqueue(waiter);
      this.#options.onUnparked();
    });
    return false;
  }

  /** Tells whoever's turn it is, who no longer waits then. */
  tellNext(outcomeFor: (ticket: Ticket) => Granted): void {
    const waiter = this.#queue.take();
    if (waiter !== undefined) dismiss(waiter, outcomeFor(waiter.ticket));
  }

  /** Tells one that waits, wherever it stands, and forgets it. */
  remove(waiter: LocalWaiter, outcome: Shed | Cancelled): void {
    this.#queue.remove(waiter);
    this.#parked.delete(waiter);
    if (this.#queue.size === 0) this.#options.onNobody();
    dismiss(waiter, outcome);
  }

  /**
   * Judges all anew, now that {@link WaitingInLineOptions.latest} is another: whoever has so many
   * before it that `refusal` says something is told that, the others keep their order.
   */
  judgeAnew(refusal: (ticket: Ticket, rank: number) => Shed | undefined): void {
    const inOrder: LocalWaiter[] = [];
    for (let next = this.#queue.take(); next !== undefined; next = this.#queue.take()) {
      inOrder.push(next);
    }
    for (const waiter of inOrder) {
      const refused = refusal(waiter.ticket, this.#queue.size + 1);
      if (refused === undefined) this.#queue.add(waiter);
      else dismiss(waiter, refused);
    }
    for (const waiter of this.all) this.#setDeadline(waiter);
  }

  /** Gives them all away; nobody is told anything. */
  handOver(): Waiter[] {
    const { all } = this;
    for (const waiter of all) {
      forgetTimers(waiter);
      waiter.removeListener();
    }
    return all;
  }

  #enqueue(waiter: LocalWaiter): void {
    this.#queue.add(waiter, { paid: waiter.isRetry });
  }

  #setDeadline(waiter: LocalWaiter): void {
    const { clock, latest, tooLate } = this.#options;
    waiter.timer?.cancel();
    waiter.timer = clock.after(latest(waiter.ticket) - clock.now(), () => {
      this.remove(waiter, tooLate(waiter.ticket));
    });
  }
}

function toLocalWaiter({ ticket, signal, tell, isRetry, notBefore, number }: Waiter): LocalWaiter {
  const { owner, caller, priority, weight, arrivedAt } = ticket;
  return {
    ticket,
    signal,
    tell,
    isRetry,
    notBefore,
    number,
    owner,
    caller,
    priority,
    weight,
    arrivedAt,
    queueNode: undefined,
    timer: undefined,
    parkedFor: undefined,
    removeListener: () => undefined,
    isLinked: false,
    previous: undefined,
    next: undefined,
  };
}

function dismiss(waiter: LocalWaiter, outcome: Granted | Shed | Cancelled): void {
  forgetTimers(waiter);
  waiter.removeListener();
  waiter.tell(outcome);
}

function forgetTimers(waiter: LocalWaiter): void {
  waiter.timer?.cancel();
  waiter.parkedFor?.cancel();
}
