import { WindowedMax } from '../util/windowed-max.ts';

/** What an observation tells of the slots that are out, beside what we know of them. */
export interface SlotEvidence {
  /** When the API counted the call at the earliest, on our clock. */
  readonly countedAt: number;
  /** What comes back by then may be back in its number already. */
  readonly countedUntil: number;
  /** Slots that come back between the two, or did while the call was under way. */
  readonly returned: number;
  /** Operations that are out by its number and of which we have no slot. */
  readonly unmatched: number;
  /** Grants without an answer, which may be among those. */
  readonly inFlight: number;
}

/**
 * Slots that come back so close to the newest observation that its number may count them as back or
 * as out.
 *
 * They are taken for counted as back, which is the careful side, and nearly always the next answer
 * puts that right. Where none is under way and all else comes back much later they would lie unused
 * until then; so once they are certainly back, one asks. Where more is out by the number than others
 * usually have, some of them were counted as out: without that nobody asks.
 */
export class UncountedSlots {
  #count = 0;
  #from = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  #unmatched = 0;
  /** How many others had out at the least, and that at the most of late. */
  readonly #othersSpent = new WindowedMax();

  /** How many slots came back after the newest observation, as far as its number tells. */
  get count(): number {
    return Math.max(0, Math.min(this.#count, this.#unmatched - (this.#othersSpent.value ?? 0)));
  }

  /** When they are back at the latest, on our clock. */
  get until(): number {
    return this.#until;
  }

  /** How much of the time before that is in doubt, in milliseconds. */
  get lengthMs(): number {
    return this.#until - this.#from;
  }

  /** Takes on the newest observation; at least the last `span` of them tell of others. */
  observed(
    { countedAt, countedUntil, returned, unmatched, inFlight }: SlotEvidence,
    span: number,
  ): void {
    // What was in doubt before is in the number of a call that was counted after it was back.
    if (countedAt >= this.#until) this.#count = 0;
    if (returned > 0) {
      this.#count += returned;
      this.#from = countedAt;
      this.#until = countedUntil;
    }
    this.#unmatched = unmatched;
    this.#othersSpent.add(Math.max(0, unmatched - inFlight - this.#count), span);
  }

  /** An answer came that was given before the newest observation, whose number has its call. */
  olderAnswered(): void {
    this.#unmatched--;
  }
}
