/** How long after our own part is used up others have used theirs, if they want it at all. */
const OTHERS_MS = 1000;

/**
 * Our part of a budget of which several replicas have one each, and cannot tell each other what they
 * do: an equal share of the limit, and never more than that share of what the API has left.
 *
 * What the others do not use is not lost: once ours is used up we go on with it, at the pace at which
 * the API gives back over a period. At once it would be taken before the others had their part.
 */
export class Part {
  readonly #replicas: number;
  #beyondAt: number;
  #keptUntil: number | undefined;

  /** From now on so many replicas have a part each. */
  constructor(replicas: number, now: number) {
    this.#replicas = replicas;
    this.#beyondAt = now + OTHERS_MS;
  }

  /** Whether there are others, who are sure to spend theirs. */
  get isPart(): boolean {
    return this.#replicas > 1;
  }

  /** When what the others leave may next be gone on with, on our clock. */
  get beyondAt(): number {
    return this.#beyondAt;
  }

  /** Our part of what the API has left. */
  of(left: number): number {
    return Math.floor(left / this.#replicas);
  }

  /** Our part of the API's limit. */
  ofLimit(limit: number): number {
    return Math.max(1, this.of(limit));
  }

  /** The limit that `ours` is a part of. */
  whole(ours: number): number {
    return ours * this.#replicas;
  }

  /** How much of `remaining` is of our own part, of whose `limit` so much is out. */
  own(remaining: number, limit: number, out: number): number {
    if (!this.isPart) return remaining;
    return Math.min(remaining, limit - out) - (this.#keptUntil === undefined ? 0 : 1);
  }

  /** All begin to spend their parts now. One of ours is kept, to ask later what the others leave. */
  keepOne(now: number): void {
    if (this.isPart) this.#keptUntil = now + OTHERS_MS;
  }

  /** Until when it is kept, on our clock; `undefined` when none is. */
  get keptUntil(): number | undefined {
    return this.#keptUntil;
  }

  advance(now: number): void {
    if (this.#keptUntil !== undefined && this.#keptUntil <= now) this.#keptUntil = undefined;
  }

  /** One of our own part is granted, or one that goes beyond it, of which one goes each `paceMs`. */
  granted(now: number, isOwn: boolean, paceMs: number): void {
    if (this.isPart) this.#beyondAt = now + (isOwn ? OTHERS_MS : paceMs);
  }
}

/** All of a budget that is nobody else's: what it is for most buckets, so they have it in common. */
export const WHOLE = new Part(1, 0);
