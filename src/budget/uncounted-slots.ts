import { LargestSeen } from '../util/windowed-max.ts';

/** What an observation tells of the slots that are out, beside what we know of them. */
export interface Told {
  /** When the API counted the call at the earliest, on our clock. */
  readonly countedAt: number;
  /** What comes back by then may be back in its number already. */
  readonly countedUntil: number;
  /** Slots that come back between the two, or did while the call was under way. */
  readonly between: number;
  /** Operations that are out by its number and of which we have no slot. */
  readonly unknown: number;
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
export class Doubt {
  #doubtful = 0;
  #from = Number.NEGATIVE_INFINITY;
  #until = Number.NEGATIVE_INFINITY;
  #unknown = 0;
  /** How many others had out at the least, and that at the most of late. */
  readonly #others = new LargestSeen();

  /** How many slots came back after the newest observation, as far as its number tells. */
  get count(): number {
    return Math.max(0, Math.min(this.#doubtful, this.#unknown - (this.#others.value ?? 0)));
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
  observed({ countedAt, countedUntil, between, unknown, inFlight }: Told, span: number): void {
    // What was in doubt before is in the number of a call that was counted after it was back.
    if (countedAt >= this.#until) this.#doubtful = 0;
    if (between > 0) {
      this.#doubtful += between;
      this.#from = countedAt;
      this.#until = countedUntil;
    }
    this.#unknown = unknown;
    this.#others.add(Math.max(0, unknown - inFlight - this.#doubtful), span);
  }

  /** An answer came that was given before the newest observation, whose number has its call. */
  overtaken(): void {
    this.#unknown--;
  }
}
