import type { Clock, Timer } from '../../src/core/clock.ts';

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** A clock that stands still until a test moves it, and then fires what became due, in order. */
export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #epochMs: number;
  readonly #pending: Pending[] = [];

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

  after(delayMs: number, run: () => void): Timer {
    const pending: Pending = {
      at: this.#now + Math.max(0, delayMs),
      order: this.#order++,
      run,
      cancelled: false,
    };
    // Kept as a binary heap: a simulation of a hundred windows has a million timers.
    push(this.#pending, pending);
    return {
      cancel: () => {
        pending.cancelled = true;
      },
    };
  }

  /** When the next timer is due, or `undefined` when none is pending. */
  nextAt(): number | undefined {
    while (this.#pending[0]?.cancelled === true) pop(this.#pending);
    return this.#pending[0]?.at;
  }

  /** Moves the time on by `ms`, firing every timer that becomes due on the way. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let at = this.nextAt(); at !== undefined && at <= end; at = this.nextAt()) {
      const due = pop(this.#pending);
      this.#now = Math.max(this.#now, at);
      due?.run();
    }
    this.#now = end;
  }
}

function before(a: Pending, b: Pending): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Pending[], item: Pending): void {
  let i = heap.push(item) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(item, above)) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = item;
}

function pop(heap: Pending[]): Pending | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let i = 0;
  for (;;) {
    const left = 2 * i + 1;
    const right = left + 1;
    let child = left;
    const l = heap[left];
    if (l === undefined) break;
    const r = heap[right];
    let least = l;
    if (r !== undefined && before(r, l)) {
      child = right;
      least = r;
    }
    if (!before(least, last)) break;
    heap[i] = least;
    i = child;
  }
  heap[i] = last;
  return top;
}
