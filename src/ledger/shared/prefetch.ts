import type { PrefetchMark } from './lease.ts';
import type { StepPrefetch } from './wire.ts';

/**
 * Leases that this replica holds ahead of its calls, so that a call need not wait for a step
 * (docs/decisions/0022). The shared state grants them while no ticket waits and much of the budget
 * is left. They are requested by how many calls arrive, and returned when calls stop.
 */
export class Prefetch {
  #count = 0;
  /** How many there were after the last step. */
  #filled = 0;
  #mark: PrefetchMark | undefined;
  /** Recent calls, each counting for less as it ages. */
  #demand = 0;
  #demandAt = 0;
  #isRecalled = false;

  /** How many there are, usable or not. */
  get count(): number {
    return this.#count;
  }

  get isUsable(): boolean {
    return this.#count > 0 && !this.#isRecalled;
  }

  /** Whether it is time to request more. */
  get isLow(): boolean {
    return this.#count <= this.#filled / 2;
  }

  /** Counts a call, whether or not there is a lease for it. */
  countCall(now: number): void {
    this.#fade(now);
    this.#demand++;
  }

  /** Takes a lease; there must be one. */
  take(): PrefetchMark {
    if (this.#count === 0 || this.#mark === undefined) throw new Error('no lease is prefetched');
    this.#count--;
    return this.#mark;
  }

  /** Uses no lease any more: the next step returns them. */
  recall(): void {
    this.#isRecalled = true;
  }

  /** Returns how many more the step that starts now requests. Leases beyond the need are returned. */
  request(now: number): number {
    this.#fade(now);
    const isNeeded = this.#demand >= MIN_DEMAND && !this.#isRecalled;
    const target = isNeeded ? Math.min(MAX_PREFETCHED, Math.ceil(this.#demand)) : 0;
    this.#isRecalled = false;
    this.#count = Math.min(this.#count, target);
    return target - this.#count;
  }

  /** A step succeeded. Leases kept from before get its mark too, as their calls come later. */
  receive(prefetched: StepPrefetch | undefined): void {
    if (prefetched === undefined) return this.clear();
    const [added, observation, trusted, losses, returns] = prefetched;
    this.#count += added;
    this.#filled = this.#count;
    this.#mark = { observation, trusted, losses, returns };
  }

  clear(): void {
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

/** The calls of this much of the near future are prefetched. */
const AHEAD_MS = 20;
/** A shorter time changes little, and not every call need compute it. */
const FADING_MS = 1;
const MAX_PREFETCHED = 128;
/** With fewer calls than this in {@link AHEAD_MS}, each call takes a step. */
const MIN_DEMAND = 4;
