import { WindowedMax } from '../util/windowed-max.ts';

/** What an observation shows about slots, compared with the slots that we know. */
export interface SlotEvidence {
  /** The earliest time at which the API counted the call. */
  readonly countedAt: number;
  /** The latest time of a return that the observation's number may include. */
  readonly countedUntil: number;
  /** Slots that return between the two times, or that returned while the call was in flight. */
  readonly returned: number;
  /** Operations that are spent by the observation's number, and of which we have no slot. */
  readonly unmatched: number;
  /** Leases in flight, which may be among those. */
  readonly inFlight: number;
}

/**
 * Slots that return so close to the newest observation that its number may or may not include them.
 *
 * The bucket assumes that the number includes them, which never overruns the budget. The next answer
 * nearly always corrects it. With no lease in flight and no other return soon, the slots would stay
 * unused for up to a period. A canary then checks for them once they have certainly returned.
 *
 * The canary is granted only if the number has room for such slots. It must count more operations as
 * spent than our slots and the recent operations of other consumers explain.
 */
export class UncountedSlots {
  /** Slots of which it is unknown whether the number includes their return. */
  #candidates = 0;
  #from = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  #unmatched = 0;
  /** The recent maximum of what other consumers certainly had spent. */
  readonly #othersSpent = new WindowedMax();

  /** How many slots are assumed to have returned after the API counted. */
  get count(): number {
    const room = this.#unmatched - (this.#othersSpent.value ?? 0);
    return Math.max(0, Math.min(this.#candidates, room));
  }

  /** When all of them have certainly returned. */
  get until(): number {
    return this.#until;
  }

  /** The length of the time before `until` in which they return. */
  get spanMs(): number {
    return this.#until - this.#from;
  }

  /** Applies the newest observation. Remembers other consumers for at least `span` observations. */
  observed(
    { countedAt, countedUntil, returned, unmatched, inFlight }: SlotEvidence,
    span: number,
  ): void {
    // A call that was counted after all candidates had returned includes them.
    if (countedAt >= this.#until) this.#candidates = 0;
    if (returned > 0) {
      this.#candidates += returned;
      this.#from = countedAt;
      this.#until = countedUntil;
    }
    this.#unmatched = unmatched;
    this.#othersSpent.add(Math.max(0, unmatched - inFlight - this.#candidates), span);
  }

  /** Records an answer that is older than the newest observation, which includes its call. */
  olderAnswered(): void {
    this.#unmatched--;
  }
}
