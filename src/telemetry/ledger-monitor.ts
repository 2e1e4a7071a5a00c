import type { LedgerMode, LedgerObserver } from '../ledger/ledger.ts';

/** Remembers which mode the ledger is in, and passes its steps on. */
export class LedgerWatch implements LedgerObserver {
  #mode: LedgerMode = 'memory';
  #onStep: LedgerObserver['step'] = () => undefined;

  /** The mode in force. */
  get current(): LedgerMode {
    return this.#mode;
  }

  /** Sets who hears of steps. */
  onStep(run: LedgerObserver['step']): void {
    this.#onStep = run;
  }

  step(durationMs: number, tickets: number): void {
    this.#onStep(durationMs, tickets);
  }

  mode(mode: LedgerMode): void {
    this.#mode = mode;
  }
}
