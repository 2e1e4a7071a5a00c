import type { LedgerMode, LedgerObserver } from '../ledger/ledger.ts';

/**
 * Observes the ledgers of all APIs: keeps their modes, and passes the durations of their steps to one
 * listener.
 */
export class LedgerMonitor {
  readonly #modes: LedgerMode[] = [];
  #onStep: LedgerObserver['step'] = () => undefined;

  /** Returns the observer of one more ledger. */
  observe(): LedgerObserver {
    const at = this.#modes.push('memory') - 1;
    return {
      step: (durationMs, tickets) => this.#onStep(durationMs, tickets),
      mode: (mode) => void (this.#modes[at] = mode),
    };
  }

  /** The mode of the ledgers; `local` while one of them cannot use Redis. */
  get currentMode(): LedgerMode {
    return this.#modes.includes('local') ? 'local' : (this.#modes[0] ?? 'memory');
  }

  /** Sets the listener of steps. */
  onStep(listener: LedgerObserver['step']): void {
    this.#onStep = listener;
  }
}
