import { WindowedMax } from '../util/windowed-max.ts';
import type { Lease } from './in-flight.ts';
import type { Observation, ResetClock } from './observation.ts';
import { Slots } from './slots.ts';
import { UncountedSlots } from './uncounted-slots.ts';

/** The API counted a call at most this long before its answer arrived. */
const MAX_COUNTED_BEFORE_MS = 1000;
const FIRST_MARGIN_MS = 50;
const MAX_MARGIN_MS = 2000;
/** The factor that narrows the margin. */
const MARGIN_DECAY = 0.99;
const UNKNOWN_PACE_MS = 1000;

/**
 * When spent operations return: the slots, the reset that returns all of them, and the length of a
 * period.
 *
 * Slots and reset are stored on the API's clock and become more exact as its offset becomes better
 * known. A 429 soon after a return shows that our reading of the clock is early. A safety margin then
 * delays all returns. It doubles with each such 429, and shrinks with each request that is accepted
 * soon after a return.
 */
export class Refill {
  readonly #resetClock: ResetClock;
  readonly #slots = new Slots();
  /** The reset that the newest observation reported, until it passes. On the API's clock. */
  #resetAt: number | undefined;
  readonly #observedPeriodMs = new WindowedMax();
  /** The period of the configured limit, used until a period is observed. */
  #configuredPeriodMs: number | undefined;
  /** Slots that return until then are assumed to be in the newest observation's `remaining`. */
  #countedUntil = Number.NEGATIVE_INFINITY;
  readonly #uncounted = new UncountedSlots();
  #returns = 0;
  #lastReturnAt = Number.NEGATIVE_INFINITY;
  #marginMs = 0;

  constructor(resetClock: ResetClock) {
    this.#resetClock = resetClock;
  }

  /** The newest observation's reset without the margin; `undefined` once it has passed. */
  get resetAt(): number | undefined {
    return this.#resetAt === undefined ? undefined : this.#resetClock.toLocal(this.#resetAt);
  }

  /** How many slots are spent. */
  get slotCount(): number {
    return this.#slots.size;
  }

  /** When the next slot returns; `Infinity` when no slot is known. */
  get nextSlotAt(): number {
    const { first } = this.#slots;
    return first === undefined ? Infinity : this.#resetClock.toLocal(first) + this.#marginMs;
  }

  /** When the reset returns the whole limit; `Infinity` when no reset is known. */
  get fullRefillAt(): number {
    return this.#resetAt === undefined
      ? Infinity
      : this.#resetClock.toLocal(this.#resetAt) + this.#marginMs;
  }

  /** When the next slot or the whole limit returns; `Infinity` when neither is known. */
  get nextReturnAt(): number {
    return Math.min(this.nextSlotAt, this.fullRefillAt);
  }

  /** How many slots have returned until now. */
  get returns(): number {
    return this.#returns;
  }

  /**
   * When a canary should check for uncounted slots. `Infinity` when there are none, or when another
   * slot returns soon: the answer to the request that spends it shows them as well.
   */
  get checkAt(): number {
    if (this.#uncounted.count === 0) return Infinity;
    const at = this.#uncounted.until + this.#marginMs;
    return this.nextReturnAt - at > this.#uncounted.spanMs ? at : Infinity;
  }

  /** Applies the period of a configured limit, under which at most `maxSlots` slots are spent. */
  setConfiguredPeriod(periodMs: number, maxSlots: number): void {
    this.#configuredPeriodMs = periodMs;
    this.#slots.keepLast(maxSlots);
  }

  /** Continues a reset and a period that another ledger knew. */
  restore(resetAt: number | undefined, periodMs: number | undefined, limit: number): void {
    this.#resetAt = resetAt;
    if (periodMs !== undefined) this.#observedPeriodMs.add(periodMs, observationsToRemember(limit));
  }

  /** Adds a slot that returns at `at` on the API's clock. */
  addSlot(at: number, now: number): void {
    const localAt = this.#resetClock.toLocal(at);
    // The newest observation's `remaining` already includes this slot.
    if (localAt <= this.#countedUntil) return;
    this.#slots.add(at, Math.max(this.#periodMs ?? 0, localAt - now));
  }

  /**
   * Adds the slot of an operation that has no reset of its own, a period from now. Returns false when
   * neither a reset nor a configured period is known: then it is unknown when the slot returns.
   */
  addLost(now: number): boolean {
    if (this.#resetAt === undefined && this.#configuredPeriodMs === undefined) return false;
    const periodFromNow = this.#resetClock.fromLocal(now + (this.#periodMs ?? 0));
    // The operation's own reset may be later than the newest that was reported.
    this.addSlot(Math.max(this.#resetAt ?? periodFromNow, periodFromNow), now);
    return true;
  }

  /** Drops the earliest slots beyond `count`: the API has already returned them. */
  keepLast(count: number): void {
    this.#slots.keepLast(count);
  }

  /** Removes the slots that return at {@link nextSlotAt}, and returns their number. */
  returnSlots(): number {
    const at = this.nextSlotAt;
    this.#lastReturnAt = at;
    // The stored time is used, because converting it to our clock and back may not be exact.
    const count = this.#slots.takeUntil(this.#slots.first ?? at);
    this.#returns += count;
    return count;
  }

  /** Applies the reset at {@link fullRefillAt}. Returns how many operations count as still spent. */
  refillByReset(): number {
    const at = this.fullRefillAt;
    this.#lastReturnAt = at;
    this.#returns += this.#slots.size;
    // Operations that were lost after the newest observation may return later than its reset: in a
    // sliding log they do, in a window they do not. They count until the canary is answered.
    if (this.#resetAt !== undefined) this.#slots.takeUntil(this.#resetAt);
    const stillSpent = this.#slots.countBefore(
      this.#resetClock.fromLocal(at + (this.#periodMs ?? 0) + 1),
    );
    this.#slots.clear();
    this.#resetAt = undefined;
    return stillSpent;
  }

  /** Applies the newest observation, the answer to `lease`. Returns whether its reset is ahead. */
  observed(lease: Lease, observation: Observation, counts: ObservedCounts, now: number): boolean {
    const { resetAt, uncertaintyMs } = observation;
    const { limit, spent, inFlight, isShared } = counts;
    // The API counted the call at or after this time. Without the bound, a slow answer would make
    // the period too long.
    const countedAt = Math.max(lease.grantedAt, now - MAX_COUNTED_BEFORE_MS);
    const countedUntil = now + uncertaintyMs;
    const alreadyCounted = this.#slots.takeUntil(this.#resetClock.fromLocal(countedUntil));
    this.#slots.keepLast(spent);
    const returned = this.#returns - lease.returns + alreadyCounted;
    // In a share, operations without a slot show nothing: the other replicas spend as well.
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

  /** Records an answer that is older than the newest observation. */
  olderAnswered(): void {
    this.#uncounted.olderAnswered();
  }

  /** Whether a return is so recent that a 429 to a grant at `now` shows that it was early. */
  hasRecentReturn(now: number, uncertaintyMs: number): boolean {
    return now - this.#lastReturnAt <= uncertaintyMs + MAX_MARGIN_MS;
  }

  /** The API refused a request that relied on a recent return. */
  widenMargin(uncertaintyMs: number): void {
    const maxMs = uncertaintyMs + MAX_MARGIN_MS;
    this.#marginMs = Math.min(Math.max(this.#marginMs * 2, FIRST_MARGIN_MS), maxMs);
  }

  /** The API accepted a request that relied on a recent return. */
  narrowMargin(): void {
    this.#marginMs *= MARGIN_DECAY;
  }

  /**
   * Forecasts when the `n`th operation from now (from 0) returns, if each one is spent again at once:
   * first the slots, then `limit` operations at each reset. `undefined` when too little is known.
   */
  nthReturnAt(n: number, limit: number): number | undefined {
    const { fullRefillAt, checkAt } = this;
    const uncounted = checkAt === Infinity ? 0 : this.#uncounted.count;
    if (n < uncounted) return checkAt;
    const rank = (n - uncounted) % limit;
    const periods = Math.floor((n - uncounted) / limit);
    const slotsBeforeReset =
      fullRefillAt === Infinity
        ? this.#slots.size
        : this.#slots.countBefore(this.#resetClock.fromLocal(fullRefillAt - this.#marginMs));
    const slotAt = rank < slotsBeforeReset ? this.#slots.nth(rank) : undefined;
    const at =
      slotAt === undefined ? fullRefillAt : this.#resetClock.toLocal(slotAt) + this.#marginMs;
    if (at === Infinity) return undefined;
    if (periods === 0) return at;
    return this.#periodMs === undefined ? undefined : at + periods * this.#periodMs;
  }

  /** The interval between operations when `limit` of them are spread evenly over a period. */
  paceMs(limit: number): number {
    return this.#periodMs === undefined ? UNKNOWN_PACE_MS : this.#periodMs / limit;
  }

  /** Moves all stored times by `ms`, because the clock on which they are stored changed. */
  move(ms: number): void {
    this.#slots.move(ms);
    if (this.#resetAt !== undefined) this.#resetAt += ms;
  }

  get #periodMs(): number | undefined {
    return this.#observedPeriodMs.value ?? this.#configuredPeriodMs;
  }
}

/** The whole budget's numbers, as the newest observation reports them. */
export interface ObservedCounts {
  readonly limit: number;
  /** Operations that the API counts as spent. */
  readonly spent: number;
  /** Leases in flight, which the API may count among them. */
  readonly inFlight: number;
  /** Whether other replicas spend shares of the same budget. */
  readonly isShared: boolean;
}

/** Long enough to outlast one extreme value, and short enough to notice a changed period. */
function observationsToRemember(limit: number): number {
  return Math.max(64, 2 * limit);
}
