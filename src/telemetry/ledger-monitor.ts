import type { LedgerMode, LedgerObserver } from '../ledger/ledger.ts';

/** Observes the ledger: keeps its mode, and passes the durations of its steps to one listener. */
export class LedgerMonitor implements LedgerObserver {
  #mode: LedgerMode = 'memory';
  #onStep: LedgerObserver['step'] = () => undefined;

  get currentMode(): LedgerMode {
    return this.#mode;
  }

  /** Sets the listener of steps. */
  onStep(listener: LedgerObserver['step']): void {
    this.#onStep = listener;
  }

  step(durationMs: number, tickets: number): void {
    this.#onStep(durationMs, tickets);
  }

  mode(mode: LedgerMode): void {
    this.#mode = mode;
  }
}
