import { answered } from '../../budget/answers.ts';
import {
  LEASE_MS,
  makeBucket,
  type Bucket,
  type ConfiguredLimit,
  type GrantKind,
  type Lease,
} from '../../budget/bucket.ts';
import { eta, etaInShare } from '../../budget/forecast.ts';
import { granted, isTooCostly, maxPrefetched, nextWakeAt, offer } from '../../budget/grants.ts';
import { setConfiguredLimit, startShare, type KnownBudget } from '../../budget/known-budget.ts';
import { addLease, endLease, expireLease, lost, renewed, unsent } from '../../budget/leases.ts';
import { isKept, isScarce, maxKept, mayKeep, reserveAt } from '../../budget/reserve.ts';
import type { Observation, OffsetBounds } from '../../budget/observation.ts';
import { advance, available, periodMs, toLocal, trustsClock } from '../../budget/refill.ts';
import { ownRemaining } from '../../budget/share.ts';
import {
  fitsBesideShares,
  keptForOthers,
  owedOperations,
  statedReserveAt,
  usedOfShare,
} from '../../budget/stated-shares.ts';
import type { Random } from '../../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';

/** A lease in this process. */
export interface LocalLease extends Lease, LinkedListItem<LocalLease> {
  /** `expired`: counted as lost, but its answer may still arrive. */
  state: 'in-flight' | 'expired' | 'ended';
}

/** What a bucket shows at one time. Without a known limit it has neither limit nor remaining. */
export interface BucketNumbers {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
}

/**
 * One bucket's budget in this process: the model's record, and its leases in flight.
 *
 *     in-flight ──▶ ended      answered, never sent, or lost
 *         │
 *         └───────▶ expired ──▶ ended      counted as lost, and answered later
 */
export class LocalBudget {
  readonly #bucket: Bucket;
  /** In the order of their grants. */
  readonly #leases = new LinkedList<LocalLease>();

  constructor(now: number, configured?: ConfiguredLimit) {
    this.#bucket = makeBucket(now);
    if (configured !== undefined) setConfiguredLimit(this.#bucket, configured);
  }

  setConfiguredLimit(configured: ConfiguredLimit): void {
    setConfiguredLimit(this.#bucket, configured);
  }

  startShare(known: KnownBudget, replicas: number, now: number): void {
    startShare(this.#bucket, known, replicas, now);
  }

  /** Adds a lease that another ledger granted. Leases must be added oldest first. */
  addLease(kind: GrantKind, grantedAt: number, cost: number): LocalLease {
    if (kind === 'canary') this.#bucket.canaryAt = grantedAt;
    return this.#addLease(kind, cost, grantedAt, false);
  }

  /**
   * Applies everything that happened up to `now`: leases that expired, slots that returned, the
   * reset, the end of a back-off. Callers must call it before any other method at the same `now`.
   */
  advance(now: number, offset: OffsetBounds): void {
    this.#bucket.offsetMs = offset.low;
    let oldest = this.#leases.first;
    while (oldest !== undefined && oldest.grantedAt + LEASE_MS <= now) {
      this.#leases.delete(oldest);
      oldest.state = 'expired';
      expireLease(this.#bucket, oldest, now);
      oldest = this.#leases.first;
    }
    advance(this.#bucket, now);
  }

  /**
   * Returns the kind of grant that a request which costs `cost` operations can have now; `undefined`
   * when it must wait.
   */
  offer(now: number, cost = this.callCost): GrantKind | undefined {
    return offer(this.#bucket, cost, now);
  }

  /** How many operations a request costs that does not state it. */
  get callCost(): number {
    return this.#bucket.callCost;
  }

  /** Whether a request costs more than the API ever allows at once. */
  isTooCostly(cost: number): boolean {
    return isTooCostly(this.#bucket, cost);
  }

  /** Which part of the limit may be kept for owners that do not wait. */
  get spread(): number {
    return this.#bucket.spread;
  }

  set spread(spread: number) {
    this.#bucket.spread = spread;
  }

  /** Sets what is stated for callers: which part of the limit, and how much of it they have not used. */
  setStated(part: number, owed: number): void {
    const { stated } = this.#bucket;
    if (stated === undefined) this.#bucket.stated = { part, owed };
    else Object.assign(stated, { part, owed });
  }

  /** From now on, nothing is stated for callers. */
  clearStated(): void {
    this.#bucket.stated = undefined;
  }

  /** How many operations of its stated part a caller has left, if it had used `used` at `usedAt`. */
  owed(part: number, used: number, usedAt: number, now: number): number {
    return owedOperations(this.#bucket, part, this.usedOfShare(used, usedAt, now));
  }

  /** How much of its stated part a caller has used at `now`, if it had used `used` at `usedAt`. */
  usedOfShare(used: number, usedAt: number, now: number): number {
    return usedOfShare(this.#bucket, used, usedAt, now);
  }

  /** How many operations are kept from a request for callers other than its own. */
  keptForOthers(own: number, cost: number, now: number): number {
    return keptForOthers(this.#bucket, own, cost, now);
  }

  /** How many operations are kept at `now` for all callers whose share is stated. */
  keptForCallers(now: number): number {
    const { stated } = this.#bucket;
    return stated === undefined ? 0 : statedReserveAt(this.#bucket, stated.owed, now).kept;
  }

  /** Whether a request fits beside all stated shares. */
  fitsBesideShares(cost: number): boolean {
    return fitsBesideShares(this.#bucket, cost);
  }

  get available(): number {
    return available(this.#bucket);
  }

  get periodMs(): number | undefined {
    return periodMs(this.#bucket);
  }

  /** The most that a reserve of `spread` keeps. */
  maxKept(spread: number): number {
    return maxKept(this.#bucket, spread);
  }

  /** How many operations are kept at `now`. */
  kept(now: number): number {
    return reserveAt(this.#bucket, now).kept;
  }

  /** Whether a request would take from what `spread` keeps at most. */
  isScarce(spread: number, cost = this.callCost): boolean {
    return isScarce(this.#bucket, spread, cost);
  }

  /** Whether the reserve may keep a request waiting that is offered such a grant. */
  mayKeep(kind: GrantKind | undefined): boolean {
    return mayKeep(this.#bucket, kind);
  }

  /** Whether the reserve keeps a request waiting that would be granted otherwise. */
  isKept(now: number, cost = this.callCost): boolean {
    return isKept(this.#bucket, cost, now);
  }

  /** How many operations may be granted ahead of the requests that will spend them. */
  maxPrefetched(now: number): number {
    return maxPrefetched(this.#bucket, now);
  }

  /** Grants one request. Throws when {@link offer} returns `undefined`. */
  grant(now: number, cost = this.callCost): LocalLease {
    const kind = offer(this.#bucket, cost, now);
    if (kind === undefined) throw new Error('a grant was requested while the bucket offered none');
    const lease = this.#addLease(kind, cost, now, trustsClock(this.#bucket, now));
    granted(this.#bucket, kind, now);
    return lease;
  }

  /**
   * Ends `lease` with its answer, whose headers arrived at `now`. `random` is the jitter of a back-off
   * after a 429 that reports no time.
   */
  answered(lease: LocalLease, observation: Observation, now: number, random: Random): void {
    const wasInFlight = this.#end(lease);
    answered(this.#bucket, lease, wasInFlight, observation, now, random);
  }

  /** Ends `lease`, whose request was never sent and cost nothing. */
  unsent(lease: LocalLease): void {
    if (this.#end(lease)) unsent(this.#bucket, lease);
  }

  /** Replaces a lease whose request is not sent yet by a regular one that begins now. */
  renew(lease: LocalLease, now: number): LocalLease {
    const wasInFlight = this.#end(lease);
    const next = this.#addLease('regular', lease.cost, now, false);
    if (wasInFlight) renewed(this.#bucket, lease);
    return next;
  }

  /**
   * Ends `lease`, whose request may have reached the API and will have no answer. It counts as spent.
   */
  lost(lease: LocalLease, now: number): void {
    if (this.#end(lease)) lost(this.#bucket, lease, now);
  }

  /** Returns the earliest time at which {@link offer} may change. It is always finite. */
  nextWakeAt(now: number): number {
    return nextWakeAt(this.#bucket, this.#leases.first?.grantedAt, now);
  }

  /**
   * Forecasts when the `rank`th waiting operation (from 1) is granted; `undefined` when too little is
   * known.
   */
  eta(rank: number, now: number): number | undefined {
    return eta(this.#bucket, rank, now);
  }

  /** Forecasts as {@link eta} does, for an operation that its caller's stated share covers. */
  etaInShare(rank: number, now: number): number | undefined {
    return etaInShare(this.#bucket, rank, now);
  }

  /** Returns the numbers that the admin API and the metrics show. */
  view(now: number): BucketNumbers {
    const { phase, limit, blockedUntil, inFlight } = this.#bucket;
    const resetAt =
      this.#bucket.resetAt === undefined ? now : toLocal(this.#bucket, this.#bucket.resetAt);
    const remaining = Math.max(0, ownRemaining(this.#bucket));
    return {
      ...(phase === 'metered' ? { limit, remaining } : {}),
      ...(resetAt <= now ? {} : { resetInMs: resetAt - now }),
      ...(blockedUntil === undefined ? {} : { blockedForMs: blockedUntil - now }),
      leases: inFlight,
    };
  }

  #addLease(kind: GrantKind, cost: number, grantedAt: number, trusted: boolean): LocalLease {
    addLease(this.#bucket, cost);
    const { observations, losses, returns } = this.#bucket;
    const lease: LocalLease = {
      kind,
      grantedAt,
      cost,
      observation: observations,
      losses,
      returns,
      trusted,
      loss: 0,
      recorded: false,
      state: 'in-flight',
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    this.#leases.add(lease);
    return lease;
  }

  /** Ends a lease. Returns false when it had expired before; throws when it had ended before. */
  #end(lease: LocalLease): boolean {
    if (lease.state === 'ended') throw new Error('a grant was settled twice');
    const wasInFlight = lease.state === 'in-flight';
    lease.state = 'ended';
    if (!wasInFlight) return false;
    this.#leases.delete(lease);
    endLease(this.#bucket, lease);
    return true;
  }
}
