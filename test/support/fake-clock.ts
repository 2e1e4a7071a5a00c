import type { Clock, Timer } from '../../src/util/clock.ts';
import { Heap, type HeapItem } from '../../src/util/heap.ts';

interface Pending extends HeapItem {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that only a test moves; timers that become due fire in order. */
export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #epochMs: number;
  readonly #pending = new Heap<Pending>(
    (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order),
  );

  constructor({ startMs = 1_000_000, epochMs = Date.UTC(2026, 0, 1) } = {}) {
    this.#now = startMs;
    this.#epochMs = epochMs - startMs;
  }

  now(): number {
    return this.#now;
  }

  wallMs(): number {
    return this.#epochMs + this.#now;
  }

  /** The number of timers that are set. */
  get pending(): number {
    return this.#pending.size;
  }

  after(delayMs: number, run: () => void): Timer {
    const at = this.#now + Math.max(0, delayMs);
    const pending: Pending = { at, order: this.#order++, run, heapIndex: -1 };
    this.#pending.add(pending);
    return { cancel: () => this.#pending.remove(pending) };
  }

  /** The time at which the next timer is due; `undefined` when none is set. */
  nextAt(): number | undefined {
    return this.#pending.first?.at;
  }

  /** Moves the time forward, timer by timer. `quiet` lets everything finish that a timer started. */
  async pass(ms: number, quiet: () => Promise<void>): Promise<void> {
    const end = this.now() + ms;
    for (;;) {
      await quiet();
      const next = this.nextAt();
      if (next === undefined || next > end) break;
      this.advance(Math.max(0, next - this.now()));
    }
    this.advance(end - this.now());
    await quiet();
  }

  /** Moves the time forward by `ms` and fires no timer, like a process that was stopped. */
  oversleep(ms: number): void {
    this.#now += ms;
  }

  /** Moves the time forward by `ms`, and fires every timer that becomes due on the way. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#pending.first;
      if (due === undefined || due.at > end) break;
      this.#pending.remove(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
  }
}
