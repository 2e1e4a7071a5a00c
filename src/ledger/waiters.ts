import type { Clock, Timer } from '../util/clock.ts';
import { Heap, type HeapItem } from '../util/heap.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import type { Cancelled, Granted, RemoveListener, Shed } from './ledger.ts';
import type { Waiter } from './transfer.ts';

/** Waiting tickets are judged anew when the forecast gets later by more than this. */
export const JUDGED_ANEW_MS = 1000;

/** A ticket that waits at one bucket. The fields of this interface belong to {@link Waiters}. */
export interface WaitingTicket<T> extends Waiter, Deadline, LinkedListItem<T> {
  /** Ends the parking; `undefined` when the ticket is not parked. */
  parking: Timer | undefined;
  removeListener: RemoveListener;
}

export interface WaitersOptions<T> {
  readonly clock: Clock;
  /** A parked ticket may queue from now on. */
  readonly onUnparked: (waiter: T) => void;
  /** A wait has to end, as the caller has gone or the deadline has passed; {@link Waiters.end} ends it. */
  readonly onOver: (waiter: T, reason: 'gone' | 'late') => void;
}

/**
 * The tickets that wait at one bucket, wherever it is kept: their deadlines, their callers' signals,
 * and those that are parked, as they may not queue yet. The queue itself is the ledger's.
 */
export class Waiters<T extends WaitingTicket<T>> {
  readonly #options: WaitersOptions<T>;
  readonly #parked = new LinkedList<T>();
  readonly #deadlines: Deadlines<T>;

  constructor(options: WaitersOptions<T>) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (waiter) => options.onOver(waiter, 'late'));
  }

  /** How many tickets are parked. */
  get parkedCount(): number {
    return this.#parked.size;
  }

  get parked(): T[] {
    return this.#parked.all;
  }

  /** When the first deadline passes; `Infinity` when no ticket waits. */
  get firstDueAt(): number {
    return this.#deadlines.first?.dueAt ?? Infinity;
  }

  /** Starts a wait that ends by `waiter.dueAt`. Returns whether it may queue; else it is parked. */
  add(waiter: T): boolean {
    const { clock, onOver, onUnparked } = this.#options;
    waiter.removeListener = waiter.signal.onGone(() => onOver(waiter, 'gone'), true);
    this.#deadlines.add(waiter);
    const parkedForMs = waiter.notBefore - clock.now();
    if (parkedForMs <= 0) return true;
    this.#parked.add(waiter);
    waiter.parking = clock.after(parkedForMs, () => {
      this.#unpark(waiter);
      onUnparked(waiter);
    });
    return false;
  }

  setDeadline(waiter: T, dueAt: number): void {
    this.#deadlines.delete(waiter);
    waiter.dueAt = dueAt;
    this.#deadlines.add(waiter);
  }

  /** Stops the timers of a wait whose outcome is about to be known. */
  stopTimers(waiter: T): void {
    this.#deadlines.delete(waiter);
    this.#unpark(waiter);
  }

  end(waiter: T, outcome: Granted | Shed | Cancelled): void {
    this.stopTimers(waiter);
    waiter.removeListener();
    waiter.resolve(outcome);
  }

  /** Forgets all waiting tickets, which `all` lists. They get no outcome. */
  release(all: readonly T[]): void {
    for (const waiter of all) {
      this.#unpark(waiter);
      waiter.removeListener();
    }
    this.#deadlines.clear();
  }

  #unpark(waiter: T): void {
    if (waiter.parking === undefined) return;
    waiter.parking.cancel();
    waiter.parking = undefined;
    this.#parked.delete(waiter);
  }
}

/** An item with a deadline. */
export interface Deadline extends HeapItem {
  /** On `Clock.now`. Must not change while {@link Deadlines} holds it. */
  dueAt: number;
}

/**
 * Any number of deadlines on one timer. Nearly all deadlines are removed before they pass, so adding
 * and removing one must be cheap. So the timer stays as it is while other deadlines are left, and may
 * find nothing to do.
 */
export class Deadlines<T extends Deadline> {
  readonly #clock: Clock;
  readonly #onDue: (item: T) => void;
  readonly #items = new Heap<T>((a, b) => a.dueAt < b.dueAt);
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** `onDue` receives each item at its time; the item has been removed by then. */
  constructor(clock: Clock, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** The item with the earliest deadline. */
  get first(): T | undefined {
    return this.#items.first;
  }

  add(item: T): void {
    this.#items.add(item);
    if (item.dueAt < this.#timerAt) this.#setTimer(item.dueAt);
  }

  /** Has no effect on an item that is not here. */
  delete(item: T): void {
    this.#items.remove(item);
    if (this.#items.size === 0) this.#stopTimer();
  }

  clear(): void {
    this.#items.clear();
    this.#stopTimer();
  }

  #stopTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #setTimer(at: number): void {
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#clock.after(at - this.#clock.now(), () => this.#endPassed());
  }

  /** Reports the items whose deadline has passed, and sets the timer for the next one. */
  #endPassed(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (let { first } = this.#items; first !== undefined; { first } = this.#items) {
      if (first.dueAt > now) return this.#setTimer(first.dueAt);
      this.#items.remove(first);
      this.#onDue(first);
    }
  }
}

/** Callers listed by name; the rest are `other`, so that the number of labels is bounded. */
const CALLERS_SHOWN = 100;

/** Waiting tickets by caller: the busiest by name, the rest together. */
export function waitingByCaller(
  tickets: Iterable<{ readonly caller: string }>,
): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { caller } of tickets) counts.set(caller, (counts.get(caller) ?? 0) + 1);
  const busiest = [...counts].sort(([, a], [, b]) => b - a);
  const shown = Object.fromEntries(busiest.slice(0, CALLERS_SHOWN));
  const rest = busiest.slice(CALLERS_SHOWN).reduce((sum, [, count]) => sum + count, 0);
  return rest === 0 ? shown : { ...shown, other: (shown['other'] ?? 0) + rest };
}

/** How long the oldest of these tickets has waited; `undefined` if there is none. */
export function oldestWaitMs(
  tickets: Iterable<{ readonly arrivedAt: number }>,
  now: number,
): number | undefined {
  let arrivedAt = Number.POSITIVE_INFINITY;
  for (const ticket of tickets) arrivedAt = Math.min(arrivedAt, ticket.arrivedAt);
  return arrivedAt === Number.POSITIVE_INFINITY ? undefined : Math.max(0, now - arrivedAt);
}
