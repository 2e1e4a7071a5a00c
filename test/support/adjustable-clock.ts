import type { Clock, Timer } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';

interface Pending {
  readonly at: number;
  readonly run: () => void;
  timer: Timer;
}

/**
 * The host's clock, which a test can move forward: timers that become due fire at once. It is for
 * waits of minutes between real sockets, whose own timers it does not touch.
 */
export class AdjustableClock implements Clock {
  #aheadMs = 0;
  readonly #pending = new Set<Pending>();

  now(): number {
    return systemClock.now() + this.#aheadMs;
  }

  wallMs(): number {
    return systemClock.wallMs() + this.#aheadMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const pending: Pending = { at: this.now() + delayMs, run, timer: NO_TIMER };
    this.#pending.add(pending);
    this.#arm(pending);
    return {
      cancel: () => {
        this.#pending.delete(pending);
        pending.timer.cancel();
      },
    };
  }

  /** Moves the time forward by `ms`. */
  advance(ms: number): void {
    this.#aheadMs += ms;
    const inOrder = [...this.#pending].toSorted((a, b) => a.at - b.at);
    for (const pending of inOrder) {
      pending.timer.cancel();
      this.#arm(pending);
    }
  }

  #arm(pending: Pending): void {
    pending.timer = systemClock.after(pending.at - this.now(), () => {
      this.#pending.delete(pending);
      pending.run();
    });
  }
}

const NO_TIMER: Timer = { cancel: () => undefined };
