import type { Random } from '../util/clock.ts';
import { Backoff } from './backoff.ts';
import { InFlight, type GrantKind, type Lease, type LeaseStart } from './in-flight.ts';
import { NewestObservation } from './observation-order.ts';
import { RemainingReader, ResetClock, type Observation, type OffsetBounds } from './observation.ts';
import { Refill } from './refill.ts';
import { Share, WHOLE_BUDGET, type KnownBudget } from './share.ts';
import { Canary, Opening } from './trials.ts';

export type { GrantKind, Lease } from './in-flight.ts';

/** A limit that the configuration states, for an API that reports none. */
export interface ConfiguredLimit {
  readonly limit: number;
  readonly periodMs: number;
}

/**
 * Models one budget at the API and decides when a request may be sent.
 *
 * Each spent operation is a slot. The API returns a slot at the reset that the operation's own
 * answer reported. This one rule fits fixed windows, aligned windows, sliding logs and leaky
 * buckets.
 *
 *                     a 2xx without rate headers
 *     ┌──────────┐                              ┌───────────┐
 *     │ unopened │ ───────────────────────────▶ │ unmetered │
 *     └──────────┘                              └───────────┘
 *     one first request                         slow start: 1, 2, 4 … requests
 *     at a time                                 in flight
 *           │                                         │
 *           │ an answer reports `remaining`,          │
 *           ▼ or a 429 reports a reset                ▼
 *     ┌─────────────────────────────────────────────────────┐
 *     │ metered: available = remaining − leases in flight   │
 *     └─────────────────────────────────────────────────────┘
 *
 * A bucket with a configured limit starts metered.
 *
 * A metered bucket grants requests while `available` is positive, except in these states:
 *
 * - blocked: after a 429 nothing is granted until its Retry-After, until the next slot returns, or
 *   for a guessed time ({@link Backoff}).
 * - held: `remaining` is assumed and not reported, for example after a reset. One canary is
 *   granted, and all other requests wait for its answer ({@link Canary}).
 * - exhausted: nothing is available, and no time is known at which a slot returns. A canary is
 *   granted after a delay ({@link Canary}).
 * - uncounted: nothing is available, but slots have returned that the newest observation may not
 *   count. A canary is granted to find out ({@link Refill}).
 *
 * While replicas cannot coordinate, each one holds a share of the budget. `limit`, `remaining` and
 * `available` are then those of the share. A replica that used up its share may borrow what the
 * others leave unused ({@link Share}).
 *
 * This class owns `limit` and `remaining`; each of its members owns one further rule. Times whose
 * names end in `At` or `Until` are in milliseconds on `Clock.now`, unless stated otherwise.
 *
 * The scripts of the shared ledger contain the same model in Lua. A differential test compares the
 * two.
 */
export class Bucket {
  #phase: 'unopened' | 'unmetered' | 'metered' = 'unopened';
  /** Whether the API reported a limit, to this bucket or to the ledger that it continues. */
  #hasReportedLimit = false;
  #limit = 0;
  #remaining = 0;
  /** How much earlier than reported the newest observation's reset may be. */
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

  constructor(now: number, configured?: ConfiguredLimit) {
    this.#canary = new Canary(now);
    if (configured !== undefined) this.setConfiguredLimit(configured);
  }

  /**
   * Applies a limit from the configuration, at first or after a reload. A limit that the API reported
   * takes precedence: then this does nothing.
   */
  setConfiguredLimit({ limit, periodMs }: ConfiguredLimit): void {
    if (this.#hasReportedLimit) return;
    // What is spent stays spent under the new limit.
    const spent = this.#phase === 'metered' ? this.#limit - this.#remaining : 0;
    this.#phase = 'metered';
    this.#limit = this.#share.limitOf(limit);
    this.#remaining = Math.max(0, this.#limit - spent);
    this.#refill.setConfiguredPeriod(periodMs, this.#share.maxSlots(this.#limit, this.#remaining));
  }

  /**
   * Continues a budget that another ledger kept, with one of `replicas` equal shares of it. What the
   * API reports from now on is divided as well. `known.slots` are this replica's own slots, and are
   * not divided.
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

  /** Adds a lease that another ledger granted. Leases must be added oldest first. */
  addLease(kind: GrantKind, grantedAt: number): Lease {
    const lease = this.#inFlight.add(this.#leaseStart(kind, grantedAt, false));
    if (kind === 'canary') this.#canary.restore(lease);
    return lease;
  }

  /** Whether any lease is in flight. The ledger must keep such a bucket for the answer. */
  get hasLeases(): boolean {
    return this.#inFlight.size > 0;
  }

  /**
   * Applies everything that happened up to `now`: leases that expired, slots that returned, the
   * reset, the end of a back-off. Callers must call it before any other method at the same `now`.
   */
  advance(now: number, offset: OffsetBounds): void {
    this.#resetClock.offset = offset;
    for (;;) {
      const leaseAt = this.#inFlight.nextExpiryAt;
      const { nextSlotAt, fullRefillAt } = this.#refill;
      // The order matters: the reset also returns the slot of a lease that expired before it.
      if (Math.min(leaseAt, nextSlotAt, fullRefillAt) > now) break;
      if (leaseAt <= nextSlotAt && leaseAt <= fullRefillAt) this.#expireOldest(now);
      else if (fullRefillAt <= nextSlotAt) this.#refillByReset(fullRefillAt);
      else this.#returnSlots();
    }
    // If slots returned meanwhile, the next regular grant tests the API. Otherwise a canary does.
    if (this.#backoff.endIfOver(now)) {
      this.#share.startSpending(now, this.#ownRemaining);
      this.#canary.dueIfEmpty(this.#available);
    }
    this.#share.advance(now);
    this.#canary.advance(now, this.#available);
    // Other replicas may have spent what was reported, so a canary tests it, as after a reset.
    const isUnverified = this.#share.isStale(now) && !this.hasLeases && this.#available > 0;
    if (isUnverified && !this.#canary.holdsOthers(now)) {
      this.#canary.holdOthers(now, this.#uncertaintyMs);
    }
  }

  /** Returns the kind of grant that a request can have now; `undefined` when it must wait. */
  offer(now: number): GrantKind | undefined {
    return this.#regularOffer(now) ?? (now >= this.#forcedCanaryAt ? 'canary' : undefined);
  }

  /** Grants one request. Throws when {@link offer} returns `undefined`. */
  grant(now: number): Lease {
    const kind = this.offer(now);
    if (kind === undefined) throw new Error('a grant was requested while the bucket offered none');
    const trustsClock =
      this.#available > 0 && this.#refill.hasRecentReturn(now, this.#uncertaintyMs);
    const lease = this.#inFlight.add(this.#leaseStart(kind, now, trustsClock));
    if (this.#share.isShared) this.#share.granted(now, this.#available, this.#limit, this.#paceMs);
    this.#canary.granted(lease, now);
    if (kind === 'first') this.#opening.firstRequestGranted(now);
    return lease;
  }

  /**
   * Ends `lease` with its answer, whose headers arrived at `now`. `random` is the jitter of a back-off
   * after a 429 that reports no time.
   */
  answered(lease: Lease, observation: Observation, now: number, random: Random): void {
    const wasInFlight = this.#endLease(lease);
    if (lease.kind === 'first') this.#opening.firstRequestAnswered();
    const isThrottled = observation.status === 429;
    const { resetAt } = observation;
    if (observation.remaining === undefined && !isThrottled) {
      if (wasInFlight) this.#answeredWithoutHeaders(observation.status, now);
      return;
    }
    if (observation.remaining === undefined && resetAt === undefined) {
      this.#opening.narrow();
      this.#remaining = 0;
      this.#refused(lease, observation, now, random);
      return;
    }
    this.#switchBasis(observation);
    const isResetPast = resetAt !== undefined && this.#resetClock.toLocal(resetAt) <= now;
    const isRefused = isThrottled && (observation.remaining ?? 0) === 0;
    if (isResetPast && (this.#refill.resetAt ?? now) > now) {
      // Its numbers belong to an earlier window, but a Retry-After is an instruction.
      if (isRefused && (observation.retryAt ?? now) > now) {
        this.#refused(lease, observation, now, random);
      }
      return;
    }

    const isUnrecorded = (wasInFlight || !lease.recorded) && !isThrottled;
    if (isUnrecorded && resetAt !== undefined && !isResetPast) this.#refill.addSlot(resetAt, now);
    if (!this.#newest.isBefore(lease, observation)) {
      this.#refill.olderAnswered();
      return;
    }
    this.#observe(lease, observation, now);
    if (isRefused) this.#refused(lease, observation, now, random);
    else this.#accepted(lease);
  }

  /** Ends `lease`, whose request was never sent and cost nothing. */
  unsent(lease: Lease): void {
    if (!this.#endLease(lease)) return;
    if (lease.kind === 'canary') this.#canary.dueIfEmpty(this.#available);
    if (lease.kind === 'first') this.#opening.requestAgain();
  }

  /**
   * Ends `lease`, whose request may have reached the API and will have no answer. It counts as spent.
   */
  lost(lease: Lease, now: number): void {
    if (!this.#endLease(lease)) return;
    this.#countLost(now);
    if (lease.kind === 'canary') this.#canary.schedule(now);
  }

  /** Returns the earliest time at which {@link offer} may change. It is always finite. */
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
   * Forecasts when the `rank`th waiting ticket (from 1) is granted; `undefined` when too little is
   * known. The forecast assumes that no other consumer spends the budget.
   */
  eta(rank: number, now: number): number | undefined {
    const start = Math.max(now, this.#backoff.until ?? now);
    const unblockedAt = this.#etaUnblocked(rank, now);
    if (unblockedAt === undefined) return this.#backoff.until === undefined ? undefined : start;
    return Math.max(start, unblockedAt);
  }

  /** Returns the numbers that the admin API and the metrics show. */
  view(now: number): BucketNumbers {
    const isMetered = this.#phase === 'metered';
    const { resetAt } = this.#refill;
    const blockedUntil = this.#backoff.until;
    return {
      ...(isMetered ? { limit: this.#limit, remaining: Math.max(0, this.#ownRemaining) } : {}),
      ...(resetAt === undefined || resetAt <= now ? {} : { resetInMs: resetAt - now }),
      ...(blockedUntil === undefined ? {} : { blockedForMs: blockedUntil - now }),
      leases: this.#inFlight.size,
    };
  }

  get #available(): number {
    return this.#phase === 'metered' ? this.#ownRemaining - this.#inFlight.size : 0;
  }

  /** What remains of this replica's share. Without other replicas, what remains of the budget. */
  get #ownRemaining(): number {
    return this.#share.ownRemaining(this.#remaining, this.#limit, this.#refill.slotCount);
  }

  get #isShareUsedUp(): boolean {
    return this.#refill.slotCount + this.#inFlight.size >= this.#limit;
  }

  /** When a request may be granted beyond this replica's share; `Infinity` when it may not. */
  get #nextExtraAt(): number {
    return this.#share.nextExtraAt(this.#inFlight.size, this.#isShareUsedUp);
  }

  /** The interval between operations when all replicas together spend the budget evenly. */
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
      return inFlight === 0 || now >= this.#opening.nextRequestAt ? 'first' : undefined;
    }
    if (this.#phase === 'unmetered') return inFlight < this.#opening.window ? 'regular' : undefined;
    const available = this.#ownRemaining - inFlight;
    const isAllowed = available > 0 || now >= this.#nextExtraAt;
    if (isAllowed && !this.#canary.holdsOthers(now)) return 'regular';
    // While a lease is in flight, its answer shows what a canary would find out.
    const isCheckDue = inFlight === 0 && now >= this.#refill.checkAt;
    return isCheckDue || this.#canary.isAllowed(available) ? 'canary' : undefined;
  }

  get #forcedCanaryAt(): number {
    return this.#canary.forcedAt(this.#backoff.isByRetryAfter);
  }

  /** Converts the stored resets when the API changes the clock on which it reports them. */
  #switchBasis({ basis, resetAt }: Observation): void {
    if (resetAt === undefined) return;
    const shiftMs = this.#resetClock.setBasis(basis);
    if (shiftMs === 0) return;
    this.#refill.move(shiftMs);
    this.#newest.move(shiftMs);
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

  /** Assumes that the reset at `at` returned the whole limit, which a canary then tests. */
  #refillByReset(at: number): void {
    this.#remaining = Math.max(0, this.#limit - this.#refill.refillByReset());
    this.#share.startSpending(at, this.#ownRemaining);
    this.#canary.dueIfEmpty(this.#available);
    this.#canary.holdOthers(at, this.#uncertaintyMs);
  }

  /** Ends a lease. Returns false when it had expired before. */
  #endLease(lease: Lease): boolean {
    const wasInFlight = this.#inFlight.end(lease);
    this.#canary.ended(lease);
    return wasInFlight;
  }

  /**
   * Counts an operation as spent that has no observation of its own. Returns whether its slot has a
   * known time of return.
   */
  #countLost(now: number): boolean {
    this.#inFlight.countLost();
    if (this.#phase !== 'metered') return false;
    this.#remaining = Math.max(0, this.#remaining - 1);
    this.#share.spent();
    const hasReturnTime = this.#refill.addLost(now);
    this.#refill.keepLast(this.#share.maxSlots(this.#limit, this.#remaining));
    const isExhausted = this.#remaining === 0 && this.#inFlight.size === 0;
    if (!hasReturnTime && isExhausted) this.#canary.schedule(now);
    return hasReturnTime;
  }

  #answeredWithoutHeaders(status: number, now: number): void {
    if (this.#phase === 'metered') {
      // An API that reports its limit does so on every answer that it counts. A 4xx without rate
      // headers was refused before it was counted. A 5xx may have failed after it was counted.
      const isUncounted = this.#hasReportedLimit && status >= 400 && status < 500;
      if (!isUncounted) this.#countLost(now);
      return;
    }
    if (this.#phase === 'unopened') this.#opening.requestAgain();
    if (status < 200 || status >= 300) return;
    this.#phase = 'unmetered';
    this.#opening.widen();
  }

  #observe(lease: Lease, observation: Observation, now: number): void {
    const { remaining: reported = 0, uncertaintyMs } = observation;
    const isThrottled = observation.status === 429;
    const isFirst = this.#newest.count === 0;
    const wasAssumed = this.#canary.othersHeldUntil !== undefined;
    const totalLimit = Math.max(observation.limit ?? this.#share.totalOf(this.#limit), reported, 1);
    const isAlone = (isFirst || wasAssumed) && lease.kind !== 'regular';
    if (isAlone && !isThrottled) this.#remainingReader.learn(reported, totalLimit);
    const limit = this.#share.limitOf(totalLimit);
    const totalRemaining = this.#remainingReader.afterCall(reported, isThrottled);
    // The number may not include operations that were lost while this request was in flight.
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
    // A higher `remaining` under another limit is a raised quota, or the budget of another route. A
    // canary finds out which, as after a reset.
    if (isOtherLimit) this.#canary.holdOthers(now, uncertaintyMs);
    if (remaining > 0) this.#backoff.lift(lease);

    const { isShared } = this.#share;
    const counts = {
      limit: totalLimit,
      spent: totalLimit - totalRemaining,
      inFlight: this.#inFlight.size,
      isShared,
    };
    const hasReset = this.#refill.observed(lease, observation, counts, now);
    if (hasReset || remaining > 0) this.#canary.resetDelay();
    if (hasReset) this.#canary.unschedule();
    else this.#canary.schedule(now);
  }

  #accepted(lease: Lease): void {
    this.#canary.accepted();
    this.#backoff.accepted();
    if (lease.trustedClock) this.#refill.narrowMargin();
  }

  #refused(lease: Lease, observation: Observation, now: number, random: Random): void {
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

/** What a bucket shows at one time. Without a known limit it has neither limit nor remaining. */
export interface BucketNumbers {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
}
