import type { Clock, Timer } from '../util/clock.ts';
import { Heap, type HeapItem } from '../util/heap.ts';

/** What has a deadline. */
export interface Due extends HeapItem {
  /** On `Clock.now`. */
  readonly dueAt: number;
}

/**
 * Any number of deadlines on one timer, and none when there are none. Nearly all are met, so what
 * counts is that one costs little to add and to take out: while others are left, the timer stays where
 * it is, and may find nothing to do when it rings.
 */
export class Deadlines<T extends Due> {
  readonly #clock: Clock;
  readonly #onDue: (item: T) => void;
  readonly #items = new Heap<T>((a, b) => a.dueAt < b.dueAt);
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  /** `onDue` gets each item once its time has come, and it is here no more. */
  constructor(clock: Clock, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  add(item: T): void {
    this.#items.add(item);
    if (item.dueAt < this.#timerAt) this.#setTimer(item.dueAt);
  }

  /** Nothing happens when it is not here. */
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
    this.#timer = this.#clock.after(at - this.#clock.now(), () => this.#ring());
  }

  #ring(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (let { first } = this.#items; first !== undefined; { first } = this.#items) {
      if (first.dueAt > now) return this.#setTimer(first.dueAt);
      this.#items.remove(first);
      this.#onDue(first);
    }
  }
}
