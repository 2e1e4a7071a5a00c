import { Backoff } from './backoff.ts';
import { Canary, Opening } from './trials.ts';
import type { Random } from '../util/clock.ts';
import { Refill } from './refill.ts';
import { type LeaseStart, type GrantKind, type Lease, InFlight } from './in-flight.ts';
import { NewestObservation } from './observation-order.ts';
import { RemainingReader, ResetClock, type Observation, type OffsetBounds } from './observation.ts';
import { Share, WHOLE_BUDGET, type KnownBudget } from './share.ts';

export type { GrantKind, Lease } from './in-flight.ts';

/** A limit from the configuration. */
export interface ConfiguredLimit {
  readonly limit: number;
  readonly periodMs: number;
}

/**
 * One budget at the API. Every spent operation is a slot that comes back at the reset its own
 * response reported; that one rule fits fixed, aligned and sliding windows and leaky buckets.
 *
 *                 a 2xx without rate headers
 *     ┌──────────┐ ───────────────────────────▶ ┌───────────┐   slow start: 1, 2, 4 … at once
 *     │ unopened │                              │ unmetered │
 *     └──────────┘ ──┐                          └───────────┘
 *      one probe     │ remaining, or a 429          │
 *      at a time     ▼                              ▼
 *                 ┌───────────────────────────────────────┐
 *                 │ metered: available = remaining − leases│
 *                 └───────────────────────────────────────┘
 *
 * While metered, three things hold grants back beyond `available`:
 *   blocked    until a 429's Retry-After, or until something comes back ({@link Backoff})
 *   held       a refill by the clock is a belief: one canary goes, the rest waits for its answer
 *   exhausted  nothing available and nothing known to come back: a canary after a while, or at
 *              once for what may have come back uncounted ({@link Canary} and {@link Refill})
 * Where several replicas have a part each, `available` is of our own, and what the others leave of
 * theirs goes after it ({@link Share}).
 *
 * Here is what the answers and the clock do to `remaining`; each of its members owns one thing more.
 * Times named `…At` are on our clock.
 */
export class Bucket {
  #phase: 'unopened' | 'unmetered' | 'metered' = 'unopened';
  /** Whether the API has said a limit, here or to whoever knew the budget before. */
  #hasReportedLimit = false;
  #limit = 0;
  #remaining = 0;
  /** How much earlier than said the newest observation's reset may be. */
  #uncertaintyMs = 0;

  readonly #remainingReader = new RemainingReader();
  #share = WHOLE_BUDGET;
  readonly #resetClock = new ResetClock();
  readonly #inFlight = new InFlight();
  readonly #newest = new NewestObservation();
  readonly #refill = new Refill(this.#resetClock);
  readonly #backoff = new Backoff(this.#newest, this.#refill);
  readonly #canary: Canary;
  readonly #opening = new Opening();

  /** `belief` is a limit from the configuration, for APIs that report none. */
  constructor(now: number, configured?: ConfiguredLimit) {
    this.#canary = new Canary(now);
    if (configured !== undefined) this.setConfiguredLimit(configured);
  }

  /**
   * Takes another limit from the configuration for the one that it was made with. What the API has
   * reported is better than what anybody configures, so it changes nothing then.
   */
  setConfiguredLimit({ limit, periodMs }: ConfiguredLimit): void {
    if (this.#hasReportedLimit) return;
    // Spent slots stay spent.
    const spent = this.#phase === 'metered' ? this.#limit - this.#remaining : 0;
    this.#phase = 'metered';
    this.#limit = this.#share.limitOf(limit);
    this.#remaining = Math.max(0, this.#limit - spent);
    this.#refill.setConfiguredPeriod(periodMs, this.#share.maxSlots(this.#limit, this.#remaining));
  }

  /**
   * Takes on what is known of the budget from elsewhere, and a share of it: one of `replicas` equal
   * parts, of this and of all that the API will say. Slots are our own and come back whole.
   */
  startShare(known: KnownBudget, replicas: number, now: number): void {
    const { reported, blockedUntil, slots } = known;
    this.#share = new Share(replicas, now);
    if (blockedUntil !== undefined && blockedUntil > now) this.#backoff.restore(blockedUntil);
    if (reported === undefined && this.#phase === 'metered') {
      this.#limit = this.#share.limitOf(this.#limit);
      this.#remaining = Math.min(this.#remaining, this.#limit);
    }
    if (reported === undefined) return;
    this.#phase = 'metered';
    this.#hasReportedLimit = true;
    this.#limit = this.#share.limitOf(reported.limit);
    this.#remaining = this.#share.shareOf(reported.remaining);
    this.#share.observed(reported.remaining, reported.at ?? now, -Infinity);
    this.#uncertaintyMs = reported.uncertaintyMs;
    this.#resetClock.setBasis('delay');
    this.#refill.restore(reported.resetAt, reported.periodMs, reported.limit);
    for (const [at, count] of slots) {
      for (let i = 0; i < count; i++) if (at > now) this.#refill.addSlot(at, now);
    }
    this.#refill.keepLast(reported.limit - reported.remaining);
    this.#share.startSpending(now, this.#ownRemaining);
    if (reported.resetAt === undefined || reported.resetAt <= now) this.#canary.schedule(now);
  }

  /** Takes on a grant that was given elsewhere and has no answer yet. Oldest first. */
  addLease(kind: GrantKind, grantedAt: number): Lease {
    const lease = this.#inFlight.add(this.#leaseStart(kind, grantedAt, false));
    if (kind === 'canary') this.#canary.restore(lease);
    return lease;
  }

  /** Whether answers are still awaited: such a bucket must not be forgotten. */
  get hasLeases(): boolean {
    return this.#inFlight.size > 0;
  }

  /** Lets time pass: leases expire, slots come back, the reset and the block end. Call it first. */
  advance(now: number, offset: OffsetBounds): void {
    this.#resetClock.offset = offset;
    for (;;) {
      const leaseAt = this.#inFlight.nextExpiryAt;
      const { nextSlotAt, fullRefillAt } = this.#refill;
      // In the order in which they happened: an expired lease's slot may be what the reset clears.
      if (Math.min(leaseAt, nextSlotAt, fullRefillAt) > now) break;
      if (leaseAt <= nextSlotAt && leaseAt <= fullRefillAt) this.#expireOldest(now);
      else if (fullRefillAt <= nextSlotAt) this.#refillByReset(fullRefillAt);
      else this.#returnSlots();
    }
    // What came back by the clock is test enough; a canary goes only where nothing did.
    if (this.#backoff.endIfOver(now)) {
      this.#share.startSpending(now, this.#ownRemaining);
      this.#canary.dueIfNothing(this.#available);
    }
    this.#share.advance(now);
    this.#canary.advance(now, this.#available);
    // As after a refill: what is there is a belief.
    const isUnverified = this.#share.isStale(now) && !this.hasLeases && this.#available > 0;
    if (isUnverified && !this.#canary.holdsOthers(now))
      this.#canary.holdOthers(now, this.#uncertaintyMs);
  }

  /** Whether a request may go now, and as what; `undefined` when it must wait. */
  offer(now: number): GrantKind | undefined {
    return this.#regularOffer(now) ?? (now >= this.#forcedCanaryAt ? 'canary' : undefined);
  }

  /** Lets one request go, which {@link offer} must have said may. */
  grant(now: number): Lease {
    const kind = this.offer(now);
    if (kind === undefined) throw new Error('a grant was taken that was not on offer');
    const trustsClock =
      this.#available > 0 && this.#refill.hasRecentReturn(now, this.#uncertaintyMs);
    const lease = this.#inFlight.add(this.#leaseStart(kind, now, trustsClock));
    if (this.#share.isShared) this.#share.granted(now, this.#available, this.#limit, this.#paceMs);
    this.#canary.granted(lease, now);
    if (kind === 'probe') this.#opening.firstRequestGranted(now);
    return lease;
  }

  /** The response's headers arrived. `random` spreads the retries of an API that says no time. */
  answered(lease: Lease, observation: Observation, now: number, random: Random): void {
    const wasInFlight = this.#endLease(lease);
    if (lease.kind === 'probe') this.#opening.firstRequestAnswered();
    const throttled = observation.status === 429;
    const { resetAt } = observation;
    if (observation.remaining === undefined && !throttled) {
      if (wasInFlight) this.#answeredWithoutHeaders(observation.status, now);
      return;
    }
    if (observation.remaining === undefined && resetAt === undefined) {
      this.#opening.narrow();
      this.#remaining = 0;
      this.#throttled(lease, observation, now, random);
      return;
    }
    this.#switchBasis(observation);
    const resetPassed = resetAt !== undefined && this.#resetClock.toLocal(resetAt) <= now;
    const refused = throttled && (observation.remaining ?? 0) === 0;
    if (resetPassed && (this.#refill.resetAt ?? now) > now) {
      // Its numbers are stale, but an instruction is obeyed.
      if (refused && (observation.retryAt ?? now) > now) {
        this.#throttled(lease, observation, now, random);
      }
      return;
    }

    const unrecorded = (wasInFlight || !lease.recorded) && !throttled;
    if (unrecorded && resetAt !== undefined && !resetPassed) this.#refill.addSlot(resetAt, now);
    if (!this.#newest.isBefore(lease, observation)) {
      this.#refill.olderAnswered();
      return;
    }
    this.#observe(lease, observation, now);
    if (refused) this.#throttled(lease, observation, now, random);
    else this.#accepted(lease);
  }

  /** The request was never sent: it cost nothing. */
  unsent(lease: Lease): void {
    if (!this.#endLease(lease)) return;
    if (lease.kind === 'canary') this.#canary.dueIfNothing(this.#available);
    if (lease.kind === 'probe') this.#opening.requestAgain();
  }

  /** The request may have reached the API and no answer will come: it counts as spent. */
  lost(lease: Lease, now: number): void {
    if (!this.#endLease(lease)) return;
    this.#countLost(now);
    if (lease.kind === 'canary') this.#canary.schedule(now);
  }

  /** When {@link offer} may next say something else than it does now; never infinitely far. */
  nextWakeAt(now: number): number {
    let at = this.#forcedCanaryAt;
    const consider = (time: number | undefined): void => {
      if (time !== undefined && time > now && time < at) at = time;
    };
    consider(this.#backoff.until);
    consider(this.#refill.nextSlotAt);
    consider(this.#refill.fullRefillAt);
    const { checkAt } = this.#refill;
    if (!this.hasLeases) consider(checkAt);
    consider(this.#canary.othersHeldUntil);
    consider(this.#nextExtraAt);
    consider(this.#share.reservedUntil);
    consider(this.#canary.dueAt);
    if (this.#phase === 'unopened') consider(this.#opening.nextRequestAt);
    const dependsOnLeases =
      this.#share.isShared ||
      this.#canary.isInFlight ||
      this.#phase !== 'metered' ||
      checkAt < Infinity;
    if (dependsOnLeases) consider(this.#inFlight.nextExpiryAt);
    return Math.max(at, now);
  }

  /**
   * When the `rank`th waiting ticket (from 1) can expect its grant, on our clock; `undefined` when
   * too little is known to say. It counts on nobody else spending the budget.
   */
  eta(rank: number, now: number): number | undefined {
    const start = Math.max(now, this.#backoff.until ?? now);
    const known = this.#etaUnblocked(rank, now);
    if (known === undefined) return this.#backoff.until === undefined ? undefined : start;
    return Math.max(start, known);
  }

  view(now: number): BucketNumbers {
    const metered = this.#phase === 'metered';
    const { resetAt } = this.#refill;
    const blockedUntil = this.#backoff.until;
    return {
      ...(metered ? { limit: this.#limit, remaining: Math.max(0, this.#ownRemaining) } : {}),
      ...(resetAt === undefined || resetAt <= now ? {} : { resetInMs: resetAt - now }),
      ...(blockedUntil === undefined ? {} : { blockedForMs: blockedUntil - now }),
      leases: this.#inFlight.size,
    };
  }

  get #available(): number {
    return this.#phase === 'metered' ? this.#ownRemaining - this.#inFlight.size : 0;
  }

  /** What remains of our own part of the budget. */
  get #ownRemaining(): number {
    return this.#share.ownRemaining(this.#remaining, this.#limit, this.#refill.slotCount);
  }

  get #isShareUsedUp(): boolean {
    return this.#refill.slotCount + this.#inFlight.size >= this.#limit;
  }

  /** When one may go although nothing of our own part is available; infinitely far when none may. */
  get #nextExtraAt(): number {
    return this.#share.nextExtraAt(this.#inFlight.size, this.#isShareUsedUp);
  }

  /** How far apart the operations of all replicas are where they are spent evenly. */
  get #paceMs(): number {
    return this.#refill.paceMs(this.#share.totalOf(this.#limit));
  }

  #leaseStart(kind: GrantKind, grantedAt: number, trustedClock: boolean): LeaseStart {
    const { returns } = this.#refill;
    return { kind, grantedAt, observationCount: this.#newest.count, returns, trustedClock };
  }

  #regularOffer(now: number): GrantKind | undefined {
    if (this.#backoff.until !== undefined) return undefined;
    const inFlight = this.#inFlight.size;
    if (this.#phase === 'unopened') {
      return inFlight === 0 || now >= this.#opening.nextRequestAt ? 'probe' : undefined;
    }
    if (this.#phase === 'unmetered') return inFlight < this.#opening.window ? 'slot' : undefined;
    const available = this.#ownRemaining - inFlight;
    const isAllowed = available > 0 || now >= this.#nextExtraAt;
    if (isAllowed && !this.#canary.holdsOthers(now)) return 'slot';
    // Whatever is out will tell what one would ask.
    const isCheckDue = inFlight === 0 && now >= this.#refill.checkAt;
    return isCheckDue || this.#canary.isAllowed(available) ? 'canary' : undefined;
  }

  get #forcedCanaryAt(): number {
    return this.#canary.forcedAt(this.#backoff.isByRetryAfter);
  }

  /** An API that changes the clock it reports on takes our book-keeping with it. */
  #switchBasis({ basis, resetAt }: Observation): void {
    if (resetAt === undefined) return;
    const movedMs = this.#resetClock.setBasis(basis);
    if (movedMs === 0) return;
    this.#refill.move(movedMs);
    this.#newest.move(movedMs);
  }

  #expireOldest(now: number): void {
    const lease = this.#inFlight.expireOldest();
    if (lease === undefined) return;
    this.#canary.ended(lease);
    lease.recorded = this.#countLost(now);
    if (lease.kind === 'canary') this.#canary.schedule(now);
  }

  #returnSlots(): void {
    const count = this.#refill.returnSlots();
    this.#remaining = Math.min(this.#limit, this.#remaining + count);
    this.#share.returned(count);
  }

  /** The reset passed, so we believe; a canary tells. */
  #refillByReset(at: number): void {
    this.#remaining = Math.max(0, this.#limit - this.#refill.refillByReset());
    this.#share.startSpending(at, this.#ownRemaining);
    this.#canary.dueIfNothing(this.#available);
    this.#canary.holdOthers(at, this.#uncertaintyMs);
  }

  /** Takes a lease off the books; says whether it was still on them. */
  #endLease(lease: Lease): boolean {
    const wasInFlight = this.#inFlight.end(lease);
    this.#canary.ended(lease);
    return wasInFlight;
  }

  /** Books an operation that nobody told of; says whether anything tells when it comes back. */
  #countLost(now: number): boolean {
    this.#inFlight.countLost();
    if (this.#phase !== 'metered') return false;
    this.#remaining = Math.max(0, this.#remaining - 1);
    this.#share.spent();
    const hasReturnTime = this.#refill.addLost(now);
    this.#refill.keepLast(this.#share.maxSlots(this.#limit, this.#remaining));
    if (!hasReturnTime && this.#remaining === 0 && this.#inFlight.size === 0)
      this.#canary.schedule(now);
    return hasReturnTime;
  }

  #answeredWithoutHeaders(status: number, now: number): void {
    if (this.#phase === 'metered') {
      // An API that reports its limits does so on what it counts. A refusal without them came from
      // something in front of the count; a 5xx may have come from behind it.
      const uncounted = this.#hasReportedLimit && status >= 400 && status < 500;
      if (!uncounted) this.#countLost(now);
      return;
    }
    if (this.#phase === 'unopened') this.#opening.requestAgain();
    if (status < 200 || status >= 300) return;
    this.#phase = 'unmetered';
    this.#opening.widen();
  }

  #observe(lease: Lease, observation: Observation, now: number): void {
    const { remaining: reported = 0, uncertaintyMs } = observation;
    const throttled = observation.status === 429;
    const isFirst = this.#newest.count === 0;
    const wasRefilled = this.#canary.othersHeldUntil !== undefined;
    const totalLimit = Math.max(observation.limit ?? this.#share.totalOf(this.#limit), reported, 1);
    const isAlone = (isFirst || wasRefilled) && lease.kind !== 'slot';
    if (isAlone && !throttled) this.#remainingReader.learn(reported, totalLimit);
    const limit = this.#share.limitOf(totalLimit);
    const totalRemaining = this.#remainingReader.afterCall(reported, throttled);
    // What was spent without an answer while this one was out may not be in its number yet.
    const remaining = Math.max(
      0,
      this.#share.shareOf(totalRemaining) - this.#inFlight.lostDuring(lease),
    );
    const isOtherLimit = !isFirst && limit !== this.#limit && remaining > this.#remaining;

    this.#phase = 'metered';
    this.#hasReportedLimit = true;
    this.#newest.replace(observation);
    this.#limit = limit;
    this.#remaining = remaining;
    this.#uncertaintyMs = uncertaintyMs;
    this.#share.observed(totalRemaining, now, lease.grantedAt);
    this.#canary.observed();
    // More under another limit than before may be a raised quota, or a route with a budget of its
    // own. As with a refill by the clock, one canary tells.
    if (isOtherLimit) this.#canary.holdOthers(now, uncertaintyMs);
    if (remaining > 0) this.#backoff.lift(lease);

    const { isShared } = this.#share;
    const numbers = {
      limit: totalLimit,
      spent: totalLimit - totalRemaining,
      inFlight: this.#inFlight.size,
      isShared,
    };
    const hasReset = this.#refill.observed(lease, observation, numbers, now);
    if (hasReset || remaining > 0) this.#canary.resetDelay();
    if (hasReset) this.#canary.unschedule();
    else this.#canary.schedule(now);
  }

  #accepted(lease: Lease): void {
    this.#canary.accepted();
    this.#backoff.accepted();
    if (lease.trustedClock) this.#refill.narrowMargin();
  }

  #throttled(lease: Lease, observation: Observation, now: number, random: Random): void {
    if (lease.trustedClock) this.#refill.widenMargin(observation.uncertaintyMs);
    if (lease.kind === 'canary') this.#canary.refused();
    if (this.#backoff.refused(lease, observation, now, random)) this.#canary.unschedule();
  }

  #etaUnblocked(rank: number, now: number): number | undefined {
    if (this.#phase !== 'metered') return undefined;
    const ahead = rank - Math.max(0, this.#available) - 1;
    if (ahead < 0) return now;
    if (!this.#share.isShared) return this.#refill.nthReturnAt(ahead, this.#limit);
    const returnAt = this.#refill.nthReturnAt(ahead, Math.max(this.#limit, this.#refill.slotCount));
    const extraAt = this.#share.nthExtraAt(
      ahead,
      this.#inFlight.size,
      this.#isShareUsedUp,
      this.#paceMs,
    );
    return extraAt < (returnAt ?? Infinity) ? extraAt : returnAt;
  }
}

export interface BucketNumbers {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
}
