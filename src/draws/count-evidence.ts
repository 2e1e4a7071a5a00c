import type { Reset } from '../rate-headers/reset-value.ts';

/** What one answer reports of a bucket, and when. */
export interface CountReport {
  readonly remaining: number;
  readonly reset: Reset;
  readonly grantedAt: number;
  readonly receivedAt: number;
}

/** The route and the id that an answer concerned. */
export interface CountKey {
  readonly template: string;
  readonly id: string;
}

/** What the counts of answers show: there is a counter for each route, for each id, or neither. */
export type CountFinding = 'nothing' | 'split-routes' | 'split-ids';

/** The latest answer of one route and id. */
interface Sample extends CountKey {
  readonly remaining: number;
  readonly at: number;
  /** By how much `at` may be off. */
  readonly noise: number;
  /** The first reset that this window reported, against which small moves add up. */
  firstAt: number;
  readonly grantedAt: number;
  readonly receivedAt: number;
}

/** How many routes and ids are compared at a time: more than differ at once. */
const MAX_SAMPLES = 16;
/** An older answer is no longer compared. */
const MAX_AGE_MS = 600_000;
/** How much evidence is enough, and how much at most after contradictions. */
const ENOUGH = { first: 6, last: 192 };
/** How many answers are studied after something odd, and when none of them was evidence. */
const WATCHED = 32;
const MAX_PAUSE = 4096;
/** Two exact resets that are closer are the same one, or are not surely different ones. */
const SAME_MS = 10;
const DIFFERENT_MS = 100;

/**
 * Finds out whether what seems to be one counter is several: one for each route, or one for each id.
 * There is one of these for each bucket.
 *
 * It compares three answers, of which each was granted after the one before had arrived: one of a route
 * (or id), then one of another, then one of the first again. The first and the last report the same
 * reset. So if all three spoke of one counter, its window was open all the time. The counter cannot be
 * one if
 *
 * - the answer between them reports another reset: in no known way of counting a reset goes back;
 * - or the last reports exactly one less than the first, although the one between was lower, or lower
 *   by more than one. Other consumers and operations that return can cause this, but not again and
 *   again to the exact number.
 *
 * Six such triples are needed, and at least two of them are of the first kind, or have a count that
 * rose. A count of a route that does not fall by one takes one away: other consumers spend there. What
 * no fixed window does for itself (its reset moves while the count falls, or goes back, or its count
 * rises) discards all evidence and doubles what is needed next time.
 *
 * Most buckets never show anything odd. {@link isOdd} compares numbers only. Routes and ids are read
 * for some answers after something odd, and ever less often while that shows nothing.
 */
export class CountEvidence {
  // The answer with which the next is compared.
  #remaining = Number.NEGATIVE_INFINITY;
  #at = Number.NEGATIVE_INFINITY;
  #kind: Reset['kind'] = 'instant';
  #receivedAt = Number.NEGATIVE_INFINITY;

  #watched = 0;
  #pause = 0;
  #nextPause = WATCHED;
  #samples: Sample[] = [];
  #evidence = 0;
  /** How much of it no other consumer can cause. */
  #strong = 0;
  #enough = ENOUGH.first;
  #idsOnly = true;

  /** Whether answers have to be {@link add}ed although they are not odd. */
  get isWatching(): boolean {
    return this.#watched > 0;
  }

  /** Whether one counter would hardly report this after the last answer. */
  isOdd(remaining: number, reset: Reset, grantedAt: number, receivedAt: number): boolean {
    // Overlapping answers have no order.
    if (grantedAt <= this.#receivedAt) return false;
    const at = timeOf(reset, receivedAt);
    const noise = noiseOf(reset, receivedAt - grantedAt);
    const isLower = at < this.#at - DIFFERENT_MS - noise;
    const isHigher = remaining > this.#remaining && at <= this.#at + SAME_MS + noise;
    const isOdd = (isLower || isHigher) && this.#kind === reset.kind;
    this.#remaining = remaining;
    this.#at = at;
    this.#kind = reset.kind;
    this.#receivedAt = receivedAt;
    if (this.#pause > 0) {
      this.#pause--;
      return false;
    }
    if (isOdd && this.#watched === 0) this.#watched = WATCHED;
    return isOdd;
  }

  /** Adds an answer while it is watching, and returns what all of them show. */
  add(key: CountKey, { remaining, reset, grantedAt, receivedAt }: CountReport): CountFinding {
    const sample: Sample = {
      template: key.template,
      id: key.id,
      remaining,
      at: timeOf(reset, receivedAt),
      firstAt: timeOf(reset, receivedAt),
      noise: noiseOf(reset, receivedAt - grantedAt),
      grantedAt,
      receivedAt,
    };
    const finding = this.#study(sample);
    this.#samples = this.#samples.filter(
      (one) => !isSame(one, key) && receivedAt - one.receivedAt < MAX_AGE_MS,
    );
    this.#samples.push(sample);
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    if (--this.#watched === 0) this.#endWatch();
    return finding;
  }

  #study(sample: Sample): CountFinding {
    const { at, noise, remaining, grantedAt } = sample;
    const before = this.#samples.find((one) => isSame(one, sample));
    if (before === undefined || before.receivedAt >= grantedAt) return 'nothing';
    const moved = at - before.firstAt;
    const isSameReset = Math.abs(moved) <= SAME_MS + Math.max(noise, before.noise);
    // The next window has begun.
    if (!isSameReset && moved > 0 && remaining >= before.remaining) return 'nothing';
    if (!isSameReset || remaining > before.remaining) return this.#contradict();
    sample.firstAt = before.firstAt;
    const isNext = remaining === before.remaining - 1;
    if (!isNext) this.#evidence = Math.max(0, this.#evidence - 1);
    const between = this.#samples.findLast(
      (one) =>
        !isSame(one, sample) && one.grantedAt > before.receivedAt && one.receivedAt < grantedAt,
    );
    if (between === undefined || remaining >= before.remaining) return 'nothing';
    const uncertainty = Math.max(noise, before.noise) + between.noise;
    const isOtherReset = Math.abs(between.at - at) > DIFFERENT_MS + uncertainty;
    const rise = remaining - between.remaining;
    const isOneCounter = !isOtherReset && (!isNext || rise === 0 || rise === -1);
    if (isOneCounter) return 'nothing';
    if (this.#evidence === 0) this.#idsOnly = true;
    this.#evidence++;
    if (isOtherReset || rise > 0) this.#strong++;
    if (between.template !== sample.template) this.#idsOnly = false;
    this.#watched = WATCHED;
    if (this.#evidence < this.#enough || this.#strong < 2) return 'nothing';
    this.#forget();
    return this.#idsOnly ? 'split-ids' : 'split-routes';
  }

  #contradict(): CountFinding {
    this.#enough = Math.min(2 * this.#enough, ENOUGH.last);
    this.#forget();
    return 'nothing';
  }

  #forget(): void {
    this.#evidence = 0;
    this.#strong = 0;
    this.#samples = [];
  }

  #endWatch(): void {
    if (this.#evidence > 0) this.#nextPause = WATCHED;
    this.#pause = this.#nextPause;
    this.#nextPause = Math.min(2 * this.#nextPause, MAX_PAUSE);
    this.#forget();
  }
}

function isSame(one: CountKey, other: CountKey): boolean {
  return one.id === other.id && one.template === other.template;
}

/** On the API's clock, or on ours: resets of different kinds are never compared. */
function timeOf(reset: Reset, receivedAt: number): number {
  return reset.kind === 'instant' ? reset.atMs : receivedAt + reset.afterMs;
}

/** By how much two reports of one reset differ: by rounding, and a delay by travel time as well. */
function noiseOf({ kind, resolutionMs }: Reset, travelMs: number): number {
  return resolutionMs + (kind === 'delay' ? travelMs : 0);
}

/** How many answers in a row, of different counters each, have to look like one counter. */
const ALTERNATING = 6;

/**
 * Finds out whether counters that were split are one: each answer reports one less than the last
 * one of another counter.
 */
export class SiblingEvidence {
  #key: string | undefined;
  #remaining = 0;
  #receivedAt = Number.NEGATIVE_INFINITY;
  #count = 0;

  /** Adds an answer of the counter `key`. Returns whether all counters are one. */
  add(key: string, remaining: number, grantedAt: number, receivedAt: number): boolean {
    if (grantedAt <= this.#receivedAt) return false;
    const isNext = remaining === this.#remaining - 1;
    if (!isNext) this.#count = 0;
    else if (key !== this.#key) this.#count++;
    this.#key = key;
    this.#remaining = remaining;
    this.#receivedAt = receivedAt;
    return this.#count >= ALTERNATING;
  }
}
