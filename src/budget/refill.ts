import { Doubt } from './uncounted-slots.ts';
import { LargestSeen } from '../util/windowed-max.ts';
import type { Lease } from './in-flight.ts';
import type { Observation } from './observation.ts';
import type { ReportingClock } from './reporting-clock.ts';
import { Slots } from './slots.ts';

/** How long before its answer a call was counted, at most. */
const MAX_COUNTING_MS = 1000;
const FIRST_LATENESS_MS = 50;
const MAX_LATENESS_MS = 2000;
const UNKNOWN_PACE_MS = 1000;
const LATENESS_DECAY = 0.99;

/**
 * When what was spent comes back: the slots that are out, the reset that clears them all, and how
 * long a period is.
 *
 * Slots and reset are kept on the reporting clock, so that they get sharper as it becomes known.
 * A 429 right after something came back says that our reading of that clock is early; everything
 * comes back later then, and less and less so while nothing of the kind is refused.
 */
export class Comebacks {
  readonly #clock: ReportingClock;
  readonly #slots = new Slots();
  /** What the newest observation said, until it passes. On the reporting clock. */
  #resetAt: number | undefined;
  readonly #period = new LargestSeen();
  /** What a configured limit says its period is; an observed one takes its place. */
  #believedPeriodMs: number | undefined;
  /** What comes back by then, on our clock, is taken for counted by the newest observation. */
  #countedUntil = Number.NEGATIVE_INFINITY;
  readonly #doubt = new Doubt();
  #returns = 0;
  #lastAt = Number.NEGATIVE_INFINITY;
  #latenessMs = 0;

  constructor(clock: ReportingClock) {
    this.#clock = clock;
  }

  /** The newest observation's reset until it has passed, on our clock, as it was said. */
  get resetAt(): number | undefined {
    return this.#resetAt === undefined ? undefined : this.#clock.local(this.#resetAt);
  }

  /** How many slots are out. */
  get out(): number {
    return this.#slots.size;
  }

  /** When the next slot comes back, on our clock; infinitely far when none is known to. */
  get slotAt(): number {
    const { first } = this.#slots;
    return first === undefined ? Infinity : this.#clock.local(first) + this.#latenessMs;
  }

  /** When the reset gives everything back, on our clock; infinitely far when none is known. */
  get refillAt(): number {
    return this.#resetAt === undefined
      ? Infinity
      : this.#clock.local(this.#resetAt) + this.#latenessMs;
  }

  /** When anything comes back next, on our clock; infinitely far when nothing is known to. */
  get nextAt(): number {
    return Math.min(this.slotAt, this.refillAt);
  }

  /** How many slots came back by the clock so far: what did since a grant may miss in its answer. */
  get returns(): number {
    return this.#returns;
  }

  /**
   * From when on one should ask whether slots that we take for counted came back only afterwards, on
   * our clock. Infinitely far when there are none, or something else comes back soon and will tell.
   */
  get askAt(): number {
    if (this.#doubt.count === 0) return Infinity;
    const at = this.#doubt.until + this.#latenessMs;
    return this.nextAt - at > this.#doubt.lengthMs ? at : Infinity;
  }

  /** Takes on what a configured limit says, of which all but the last `out` slots are back. */
  believe(periodMs: number, out: number): void {
    this.#believedPeriodMs = periodMs;
    this.#slots.keepLast(out);
  }

  /** Takes on a reset that somebody else was told of. */
  assume(resetAt: number | undefined, periodMs: number | undefined, limit: number): void {
    this.#resetAt = resetAt;
    if (periodMs !== undefined) this.#period.add(periodMs, observationsToRemember(limit));
  }

  /** Adds a slot that comes back at `at` on the reporting clock. */
  addSlot(at: number, now: number): void {
    const local = this.#clock.local(at);
    // The API had it back before it said the number that we go by.
    if (local <= this.#countedUntil) return;
    this.#slots.add(at, Math.max(this.#periodMs ?? 0, local - now));
  }

  /**
   * Adds the slot of an operation whose own reset we did not get to see. Says whether there is one:
   * where no reset and no limit's period is known, nothing tells when it comes back.
   */
  addLost(now: number): boolean {
    if (this.#resetAt === undefined && this.#believedPeriodMs === undefined) return false;
    // Its own reset may lie behind the newest that we saw.
    const periodOn = this.#clock.reporting(now + (this.#periodMs ?? 0));
    this.addSlot(Math.max(this.#resetAt ?? periodOn, periodOn), now);
    return true;
  }

  /** Keeps at most `out` slots: the API has the earlier ones back already. */
  keepLast(out: number): void {
    this.#slots.keepLast(out);
  }

  /** Takes the slots back whose time came at {@link slotAt}; says how many. */
  takeSlots(): number {
    const at = this.slotAt;
    this.#lastAt = at;
    // Up to the very number that is there: converted back and forth it might miss itself.
    const count = this.#slots.takeUntil(this.#slots.first ?? at);
    this.#returns += count;
    return count;
  }

  /** The reset passed, at {@link refillAt}: takes everything back but what it says is still out. */
  refill(): number {
    const at = this.refillAt;
    this.#lastAt = at;
    this.#returns += this.#slots.size;
    // What was spent without an answer after the newest observation may still be out: in a sliding
    // log it is, in a window it is not. The canary's answer tells; until then it counts.
    if (this.#resetAt !== undefined) this.#slots.takeUntil(this.#resetAt);
    const later = this.#slots.countBefore(this.#clock.reporting(at + (this.#periodMs ?? 0) + 1));
    this.#slots.clear();
    this.#resetAt = undefined;
    return later;
  }

  /** Takes on the newest observation, the answer to `lease`. Says whether it tells of a reset. */
  observed(lease: Lease, observation: Observation, counted: Counted, now: number): boolean {
    const { resetAt, uncertaintyMs } = observation;
    const { limit, out, inFlight, isPart } = counted;
    // From when the API counted the call at the earliest; a slow answer does not make it longer.
    const countedAt = Math.max(lease.grantedAt, now - MAX_COUNTING_MS);
    const countedUntil = now + uncertaintyMs;
    const returning = this.#slots.takeUntil(this.#clock.reporting(countedUntil));
    this.#slots.keepLast(out);
    const between = this.#returns - lease.returns + returning;
    // In a part, what is out and unknown says nothing of our own: others are sure to spend.
    const unknown = isPart ? 0 : out - this.#slots.size;
    const span = observationsToRemember(limit);
    this.#doubt.observed({ countedAt, countedUntil, between, unknown, inFlight }, span);
    this.#countedUntil = countedUntil;
    const localAt = resetAt === undefined ? now : this.#clock.local(resetAt);
    this.#resetAt = localAt > now ? resetAt : undefined;
    if (this.#resetAt === undefined) return false;
    this.#period.add(localAt - countedAt, span);
    return true;
  }

  /** An answer came that was given before the newest observation. */
  overtaken(): void {
    this.#doubt.overtaken();
  }

  /** Whether something came back so recently that a 429 would say that we took it for back early. */
  isRecent(now: number, uncertaintyMs: number): boolean {
    return now - this.#lastAt <= uncertaintyMs + MAX_LATENESS_MS;
  }

  /** Something was refused that relied on what had just come back. */
  early(uncertaintyMs: number): void {
    const mostMs = uncertaintyMs + MAX_LATENESS_MS;
    this.#latenessMs = Math.min(Math.max(this.#latenessMs * 2, FIRST_LATENESS_MS), mostMs);
  }

  /** Something was accepted that relied on what had just come back. */
  inTime(): void {
    this.#latenessMs *= LATENESS_DECAY;
  }

  /**
   * When the `n`th operation from now (from 0) comes back, if everything that does is spent at once:
   * the slots by their times, then `limit` at each reset. `undefined` when too little is known.
   */
  nth(n: number, limit: number): number | undefined {
    const { refillAt, askAt } = this;
    const askedFor = askAt === Infinity ? 0 : this.#doubt.count;
    if (n < askedFor) return askAt;
    const place = (n - askedFor) % limit;
    const periods = Math.floor((n - askedFor) / limit);
    const beforeRefill =
      refillAt === Infinity
        ? this.#slots.size
        : this.#slots.countBefore(this.#clock.reporting(refillAt - this.#latenessMs));
    const slotAt = place < beforeRefill ? this.#slots.nth(place) : undefined;
    const at = slotAt === undefined ? refillAt : this.#clock.local(slotAt) + this.#latenessMs;
    if (at === Infinity) return undefined;
    if (periods === 0) return at;
    return this.#periodMs === undefined ? undefined : at + periods * this.#periodMs;
  }

  /** How far apart operations are where `limit` of them are spent evenly. */
  paceMs(limit: number): number {
    return this.#periodMs === undefined ? UNKNOWN_PACE_MS : this.#periodMs / limit;
  }

  /** The reporting clock changed by `ms`. */
  move(ms: number): void {
    this.#slots.move(ms);
    if (this.#resetAt !== undefined) this.#resetAt += ms;
  }

  get #periodMs(): number | undefined {
    return this.#period.value ?? this.#believedPeriodMs;
  }
}

/** What an observation says of the budget. */
export interface Counted {
  readonly limit: number;
  /** Operations that are not back. */
  readonly out: number;
  /** Grants that have no answer yet, and may be among them. */
  readonly inFlight: number;
  /** Whether these are a replica's part of the numbers, the other parts being spent as well. */
  readonly isPart: boolean;
}

/** Enough for one freak value to be outlived, and few enough for a change to be noticed. */
function observationsToRemember(limit: number): number {
  return Math.max(64, 2 * limit);
}
