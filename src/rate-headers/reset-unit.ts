import type { Reset } from './reset-value.ts';

/** From here on a plain number may be milliseconds: as seconds it is a quarter of an hour. */
const DOUBTFUL_FROM = 1000;
/** A shorter time shows nothing: the numbers are whole, and answers take a while. */
const MIN_ELAPSED_MS = 50;
/** How many equal findings in a row decide. */
const ENOUGH = 2;
/** Beyond this number of budgets, all last numbers are forgotten; only the next finding is later. */
const MAX_BUDGETS = 1000;

type Unit = 'seconds' | 'milliseconds';

interface LastNumber {
  readonly number: number;
  readonly at: number;
}

/**
 * Decides whether an API that reports a reset as a plain number of its own, such as `600000`, means
 * seconds or milliseconds from now. Between two answers such a number counts down, and the pace shows
 * its unit. Until that is known, a number of 1000 or more is no reset, and a smaller one is seconds.
 */
export class ResetUnit {
  readonly #last = new Map<string, LastNumber>();
  #unit: Unit | undefined;
  #found: Unit | undefined;
  #times = 0;

  /**
   * Returns what `reset` means, in an answer that arrived at `receivedAt`; `undefined` while its unit
   * is unknown. `budget` names the one that counts down. Only plain numbers are changed.
   */
  read(budget: string, reset: Reset, receivedAt: number): Reset | undefined {
    if (reset.kind !== 'delay' || reset.isPlainNumber !== true) return reset;
    const number = reset.afterMs / 1000;
    // An API whose numbers are always small means seconds, and costs no more than this test.
    if (number < DOUBTFUL_FROM && this.#unit === undefined && this.#last.size === 0) return reset;
    this.#observe(budget, number, receivedAt);
    if (this.#unit === 'milliseconds') {
      return { kind: 'delay', afterMs: number, resolutionMs: reset.resolutionMs / 1000 };
    }
    return this.#unit === 'seconds' || number < DOUBTFUL_FROM ? reset : undefined;
  }

  #observe(budget: string, number: number, at: number): void {
    const last = this.#last.get(budget);
    if (last !== undefined && at - last.at < MIN_ELAPSED_MS) return;
    if (this.#last.size >= MAX_BUDGETS) this.#last.clear();
    this.#last.set(budget, { number, at });
    const found = last === undefined ? undefined : unitOf(last.number - number, at - last.at);
    if (found === undefined) return;
    this.#times = found === this.#found ? this.#times + 1 : 1;
    this.#found = found;
    if (this.#times >= ENOUGH) this.#unit = found;
  }
}

/** The unit of a number that fell by `fall` within `elapsedMs`; `undefined` if it fits neither. */
function unitOf(fall: number, elapsedMs: number): Unit | undefined {
  if (fall < 0) return undefined;
  if (fall >= elapsedMs * 0.5 && fall <= elapsedMs * 1.5 + MIN_ELAPSED_MS) return 'milliseconds';
  return fall <= (elapsedMs / 1000) * 1.5 + 1 ? 'seconds' : undefined;
}
