import type { Clock, Timer } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';

interface Pending {
  readonly at: number;
  readonly run: () => void;
  timer: Timer;
}

/**
 * The host's clock, which a test can move forward: what is due by then happens at once. For waits
 * of minutes between real sockets, whose own timers it leaves alone.
 */
export class LeapingClock implements Clock {
  #leaptMs = 0;
  readonly #pending = new Set<Pending>();

  now(): number {
    return systemClock.now() + this.#leaptMs;
  }

  wallMs(): number {
    return systemClock.wallMs() + this.#leaptMs;
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

  /** Moves the time on by `ms`. */
  leap(ms: number): void {
    this.#leaptMs += ms;
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
