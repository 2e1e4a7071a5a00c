import type { StepStock } from './wire.ts';

/** What the shared state was like when it gave stock, for the leases that come from it. */
export interface StockMark {
  /** How many observations there were, counted within a lineage. */
  readonly observation: number;
  /** Whether something had just come back by the clock, which an answer then tests. */
  readonly trusted: boolean;
  /** How many operations had been spent without an answer, and how many slots had come back. */
  readonly losses: number;
  readonly returns: number;
}

/**
 * Leave to send that this replica holds ahead of its calls, so that a call need not wait for a step
 * (docs/decisions/0022). The shared state gives it while nobody waits and the budget is wide; it is
 * asked for by how many calls come, and given back when they stop.
 */
export class Prefetch {
  #count = 0;
  /** How many there were after the last step. */
  #filled = 0;
  #mark: StockMark | undefined;
  /** Calls of late, those of longer ago counting for less. */
  #demand = 0;
  #demandAt = 0;
  #isRecalled = false;

  /** How many there are, whether or not they may be used. */
  get count(): number {
    return this.#count;
  }

  /** Whether a call may go without asking. */
  get isUsable(): boolean {
    return this.#count > 0 && !this.#isRecalled;
  }

  /** Whether it is time to ask for more. */
  get isLow(): boolean {
    return this.#count <= this.#filled / 2;
  }

  /** A call came, whether or not there is something for it. */
  called(now: number): void {
    this.#fade(now);
    this.#demand++;
  }

  /** Takes one; there must be one. */
  take(): StockMark {
    if (this.#count === 0 || this.#mark === undefined) throw new Error('there is no stock');
    this.#count--;
    return this.#mark;
  }

  /** None of it is to be used any more: the next step gives it back. */
  recall(): void {
    this.#isRecalled = true;
  }

  /** Says how much to ask for with a step that is taken now; what is not kept is given back. */
  ask(now: number): number {
    this.#fade(now);
    const isWanted = this.#demand >= LEAST_DEMAND && !this.#isRecalled;
    const target = isWanted ? Math.min(MOST_STOCK, Math.ceil(this.#demand)) : 0;
    this.#isRecalled = false;
    this.#count = Math.min(this.#count, target);
    return target - this.#count;
  }

  /** A step was answered. What is kept from before counts as given now: its calls come later. */
  heard(said: StepStock | undefined): void {
    if (said === undefined) return this.forget();
    const [added, observation, trusted, losses, returns] = said;
    this.#count += added;
    this.#filled = this.#count;
    this.#mark = { observation, trusted, losses, returns };
  }

  /** There is none any more. */
  forget(): void {
    this.#count = 0;
    this.#filled = 0;
    this.#mark = undefined;
  }

  #fade(now: number): void {
    const passedMs = now - this.#demandAt;
    if (passedMs < FADING_MS) return;
    this.#demand *= Math.exp(-passedMs / AHEAD_MS);
    this.#demandAt = now;
  }
}

/** So much of the near future's calls are asked for. */
const AHEAD_MS = 20;
/** Less than this changes little, and not every call need reckon. */
const FADING_MS = 1;
const MOST_STOCK = 128;
/** Fewer calls than this in {@link AHEAD_MS} ask one by one. */
const LEAST_DEMAND = 4;
