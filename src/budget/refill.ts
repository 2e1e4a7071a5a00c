import { UncountedSlots } from './uncounted-slots.ts';
import { WindowedMax } from '../util/windowed-max.ts';
import type { Lease } from './in-flight.ts';
import type { Observation, ResetClock } from './observation.ts';
import { Slots } from './slots.ts';

/** How long before its answer a call was counted, at most. */
const MAX_COUNTED_BEFORE_MS = 1000;
const FIRST_MARGIN_MS = 50;
const MAX_MARGIN_MS = 2000;
const UNKNOWN_PACE_MS = 1000;
const MARGIN_DECAY = 0.99;

/**
 * When what was spent comes back: the slots that are out, the reset that clears them all, and how
 * long a period is.
 *
 * Slots and reset are kept on the reporting clock, so that they get sharper as it becomes known.
 * A 429 right after something came back says that our reading of that clock is early; everything
 * comes back later then, and less and less so while nothing of the kind is refused.
 */
export class Refill {
  readonly #resetClock: ResetClock;
  readonly #slots = new Slots();
  /** What the newest observation said, until it passes. On the reporting clock. */
  #resetAt: number | undefined;
  readonly #observedPeriodMs = new WindowedMax();
  /** What a configured limit says its period is; an observed one takes its rank. */
  #configuredPeriodMs: number | undefined;
  /** What comes back by then, on our clock, is taken for counted by the newest observation. */
  #countedUntil = Number.NEGATIVE_INFINITY;
  readonly #uncounted = new UncountedSlots();
  #returns = 0;
  #lastReturnAt = Number.NEGATIVE_INFINITY;
  #marginMs = 0;

  constructor(resetClock: ResetClock) {
    this.#resetClock = resetClock;
  }

  /** The newest observation's reset until it has passed, on our clock, as it was said. */
  get resetAt(): number | undefined {
    return this.#resetAt === undefined ? undefined : this.#resetClock.toLocal(this.#resetAt);
  }

  /** How many slots are out. */
  get slotCount(): number {
    return this.#slots.size;
  }

  /** When the next slot comes back, on our clock; infinitely far when none is known to. */
  get nextSlotAt(): number {
    const { first } = this.#slots;
    return first === undefined ? Infinity : this.#resetClock.toLocal(first) + this.#marginMs;
  }

  /** When the reset gives everything back, on our clock; infinitely far when none is known. */
  get fullRefillAt(): number {
    return this.#resetAt === undefined
      ? Infinity
      : this.#resetClock.toLocal(this.#resetAt) + this.#marginMs;
  }

  /** When anything comes back next, on our clock; infinitely far when nothing is known to. */
  get nextReturnAt(): number {
    return Math.min(this.nextSlotAt, this.fullRefillAt);
  }

  /** How many slots came back by the clock so far: what did since a grant may miss in its answer. */
  get returns(): number {
    return this.#returns;
  }

  /**
   * From when on one should ask whether slots that we take for counted came back only afterwards, on
   * our clock. Infinitely far when there are none, or something else comes back soon and will tell.
   */
  get checkAt(): number {
    if (this.#uncounted.count === 0) return Infinity;
    const at = this.#uncounted.until + this.#marginMs;
    return this.nextReturnAt - at > this.#uncounted.lengthMs ? at : Infinity;
  }

  /** Takes on what a configured limit says, of which all but the last `out` slots are back. */
  setConfiguredPeriod(periodMs: number, maxSlots: number): void {
    this.#configuredPeriodMs = periodMs;
    this.#slots.keepLast(maxSlots);
  }

  /** Takes on a reset that somebody else was told of. */
  restore(resetAt: number | undefined, periodMs: number | undefined, limit: number): void {
    this.#resetAt = resetAt;
    if (periodMs !== undefined) this.#observedPeriodMs.add(periodMs, observationsToRemember(limit));
  }

  /** Adds a slot that comes back at `at` on the reporting clock. */
  addSlot(at: number, now: number): void {
    const local = this.#resetClock.toLocal(at);
    // The API had it back before it said the number that we go by.
    if (local <= this.#countedUntil) return;
    this.#slots.add(at, Math.max(this.#periodMs ?? 0, local - now));
  }

  /**
   * Adds the slot of an operation whose own reset we did not get to see. Says whether there is one:
   * where no reset and no limit's period is known, nothing tells when it comes back.
   */
  addLost(now: number): boolean {
    if (this.#resetAt === undefined && this.#configuredPeriodMs === undefined) return false;
    // Its own reset may lie behind the newest that we saw.
    const periodOn = this.#resetClock.fromLocal(now + (this.#periodMs ?? 0));
    this.addSlot(Math.max(this.#resetAt ?? periodOn, periodOn), now);
    return true;
  }

  /** Keeps at most `out` slots: the API has the earlier ones back already. */
  keepLast(count: number): void {
    this.#slots.keepLast(count);
  }

  /** Takes the slots back whose time came at {@link nextSlotAt}; says how many. */
  returnSlots(): number {
    const at = this.nextSlotAt;
    this.#lastReturnAt = at;
    // Up to the very number that is there: converted back and forth it might miss itself.
    const count = this.#slots.takeUntil(this.#slots.first ?? at);
    this.#returns += count;
    return count;
  }

  /** The reset passed, at {@link fullRefillAt}: takes everything back but what it says is still out. */
  refillByReset(): number {
    const at = this.fullRefillAt;
    this.#lastReturnAt = at;
    this.#returns += this.#slots.size;
    // What was spent without an answer after the newest observation may still be out: in a sliding
    // log it is, in a window it is not. The canary's answer tells; until then it counts.
    if (this.#resetAt !== undefined) this.#slots.takeUntil(this.#resetAt);
    const stillSpent = this.#slots.countBefore(
      this.#resetClock.fromLocal(at + (this.#periodMs ?? 0) + 1),
    );
    this.#slots.clear();
    this.#resetAt = undefined;
    return stillSpent;
  }

  /** Takes on the newest observation, the answer to `lease`. Says whether it tells of a reset. */
  observed(lease: Lease, observation: Observation, count: ObservedCount, now: number): boolean {
    const { resetAt, uncertaintyMs } = observation;
    const { limit, spent, inFlight, isShared } = count;
    // From when the API counted the call at the earliest; a slow answer does not make it longer.
    const countedAt = Math.max(lease.grantedAt, now - MAX_COUNTED_BEFORE_MS);
    const countedUntil = now + uncertaintyMs;
    const alreadyCounted = this.#slots.takeUntil(this.#resetClock.fromLocal(countedUntil));
    this.#slots.keepLast(spent);
    const returned = this.#returns - lease.returns + alreadyCounted;
    // In a part, what is out and unknown says nothing of our own: others are sure to spend.
    const unmatched = isShared ? 0 : spent - this.#slots.size;
    const span = observationsToRemember(limit);
    this.#uncounted.observed({ countedAt, countedUntil, returned, unmatched, inFlight }, span);
    this.#countedUntil = countedUntil;
    const localAt = resetAt === undefined ? now : this.#resetClock.toLocal(resetAt);
    this.#resetAt = localAt > now ? resetAt : undefined;
    if (this.#resetAt === undefined) return false;
    this.#observedPeriodMs.add(localAt - countedAt, span);
    return true;
  }

  /** An answer came that was given before the newest observation. */
  olderAnswered(): void {
    this.#uncounted.olderAnswered();
  }

  /** Whether something came back so recently that a 429 would say that we took it for back early. */
  hasRecentReturn(now: number, uncertaintyMs: number): boolean {
    return now - this.#lastReturnAt <= uncertaintyMs + MAX_MARGIN_MS;
  }

  /** Something was refused that relied on what had just come back. */
  widenMargin(uncertaintyMs: number): void {
    const maxMs = uncertaintyMs + MAX_MARGIN_MS;
    this.#marginMs = Math.min(Math.max(this.#marginMs * 2, FIRST_MARGIN_MS), maxMs);
  }

  /** Something was accepted that relied on what had just come back. */
  narrowMargin(): void {
    this.#marginMs *= MARGIN_DECAY;
  }

  /**
   * When the `n`th operation from now (from 0) comes back, if everything that does is spent at once:
   * the slots by their times, then `limit` at each reset. `undefined` when too little is known.
   */
  nthReturnAt(n: number, limit: number): number | undefined {
    const { fullRefillAt, checkAt } = this;
    const checked = checkAt === Infinity ? 0 : this.#uncounted.count;
    if (n < checked) return checkAt;
    const rank = (n - checked) % limit;
    const periods = Math.floor((n - checked) / limit);
    const beforeRefill =
      fullRefillAt === Infinity
        ? this.#slots.size
        : this.#slots.countBefore(this.#resetClock.fromLocal(fullRefillAt - this.#marginMs));
    const slotAt = rank < beforeRefill ? this.#slots.nth(rank) : undefined;
    const at =
      slotAt === undefined ? fullRefillAt : this.#resetClock.toLocal(slotAt) + this.#marginMs;
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
    return this.#observedPeriodMs.value ?? this.#configuredPeriodMs;
  }
}

/** What an observation says of the budget. */
export interface ObservedCount {
  readonly limit: number;
  /** Operations that are not back. */
  readonly spent: number;
  /** Grants that have no answer yet, and may be among them. */
  readonly inFlight: number;
  /** Whether these are a replica's part of the numbers, the other parts being spent as well. */
  readonly isShared: boolean;
}

/** Enough for one freak value to be outlived, and few enough for a change to be noticed. */
function observationsToRemember(limit: number): number {
  return Math.max(64, 2 * limit);
}
