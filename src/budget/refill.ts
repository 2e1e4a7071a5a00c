import { operationsInFlight, type Bucket, type Lease, type Share } from './bucket.ts';
import type { Observation } from './observation.ts';
import { OTHERS_FIRST_MS, maxSlots, ownRemaining, startSpending } from './share.ts';
import {
  addSlots,
  clearSlots,
  countSlotsBefore,
  keepLastSlots,
  moveSlots,
  takeSlotsUntil,
} from './slots.ts';
import { areOthersHeld, holdOthers, scheduleCanary } from './trials.ts';
import { addToMax, maxOf } from './windowed-max.ts';

/** The API counted a call at most this long before its answer arrived. */
const MAX_COUNTED_BEFORE_MS = 1000;
/** How far the margin may grow beyond the uncertainty of the reset. */
export const MAX_MARGIN_MS = 2000;
const UNKNOWN_PACE_MS = 1000;

/*
 * When spent operations return: the slots, the reset that returns all of them, and the length of a
 * period.
 *
 * Slots and reset are stored on the API's clock and become more exact as its offset becomes better
 * known. A 429 soon after a return shows that our reading of the clock is early. A safety margin then
 * delays all returns. It doubles with each such 429, and shrinks with each request that is accepted
 * soon after a return.
 *
 * A slot may return so close to the newest observation that its number may or may not include it. The
 * bucket assumes that it is included, which never overruns the budget. The next answer nearly always
 * corrects it. With no lease in flight and no other return soon, such slots would stay unused for up
 * to a period. A canary then checks for them once they have certainly returned. It is granted only if
 * the number has room for them: it must count more operations as spent than our slots and the recent
 * operations of other consumers explain.
 */

/** Converts a time on the clock of the API's resets to ours: the latest possible. */
export function toLocal({ basis, offsetMs }: Bucket, time: number): number {
  return basis === 'instant' ? time - offsetMs : time;
}

/** Converts a time on our clock to the clock of the API's resets. */
export function fromLocal({ basis, offsetMs }: Bucket, localTime: number): number {
  return basis === 'instant' ? localTime + offsetMs : localTime;
}

/** Converts the stored resets when the API changes the clock on which it reports them. */
export function switchBasis(bucket: Bucket, { basis, resetAt }: Observation): void {
  if (resetAt === undefined || basis === bucket.basis) return;
  bucket.basis = basis;
  const ms = basis === 'instant' ? bucket.offsetMs : -bucket.offsetMs;
  if (ms === 0) return;
  moveSlots(bucket.slots, ms);
  if (bucket.resetAt !== undefined) bucket.resetAt += ms;
  if (bucket.reportedResetAt !== undefined) bucket.reportedResetAt += ms;
  bucket.last.resetAt = undefined;
}

/** Returns by how much the API's reports of the same reset differ, besides rounding and travel time. */
export function noiseMs(bucket: Bucket): number {
  return maxOf(bucket.noiseMs) ?? 0;
}

/** Returns how long all returns are delayed: by the safety margin, and by the noise of the reports. */
export function delayMs(bucket: Bucket): number {
  return bucket.marginMs + noiseMs(bucket);
}

/** Returns how many operations may be spent now; 0 for a bucket that is not metered. */
export function available(bucket: Bucket): number {
  return bucket.phase === 'metered' ? ownRemaining(bucket) - operationsInFlight(bucket) : 0;
}

/**
 * Whether a canary has to find out what is available. It has to if nothing is. It has to as well if
 * nothing is in flight or known to return, as what is available may be too little for a request.
 */
export function needsCanary(bucket: Bucket): boolean {
  if (available(bucket) <= 0) return true;
  const nextReturnAt = Math.min(nextSlotAt(bucket), fullRefillAt(bucket));
  return bucket.inFlight === 0 && nextReturnAt === Infinity;
}

/** Returns the longest period observed recently, else that of the configured limit. */
export function periodMs({ observedPeriodMs, configuredPeriodMs }: Bucket): number | undefined {
  return maxOf(observedPeriodMs) ?? configuredPeriodMs;
}

/** Returns the interval between operations if `limit` of them are spent evenly over a period. */
export function paceMs(bucket: Bucket, limit: number): number {
  const period = periodMs(bucket);
  return period === undefined ? UNKNOWN_PACE_MS : period / limit;
}

/** Returns when the next slot returns; `Infinity` when no slot is known. */
export function nextSlotAt(bucket: Bucket): number {
  const first = bucket.slots.firsts[0];
  return first === undefined ? Infinity : toLocal(bucket, first) + delayMs(bucket);
}

/** Returns when the reset returns the whole limit; `Infinity` when no reset is known. */
export function fullRefillAt(bucket: Bucket): number {
  const { resetAt } = bucket;
  return resetAt === undefined ? Infinity : toLocal(bucket, resetAt) + delayMs(bucket);
}

/** Returns how many slots are assumed to have returned after the API counted. */
export function uncountedSlots({ doubtful, unmatched, othersSpent }: Bucket): number {
  return Math.max(0, Math.min(doubtful, unmatched - (maxOf(othersSpent) ?? 0)));
}

/**
 * Returns when a canary should check for uncounted slots. `Infinity` when there are none, or when
 * another slot returns soon: the answer to the request that spends it shows them as well.
 */
export function checkAt(bucket: Bucket): number {
  const { doubtFrom, doubtUntil } = bucket;
  if (doubtFrom === undefined || doubtUntil === undefined || uncountedSlots(bucket) === 0) {
    return Infinity;
  }
  const at = doubtUntil + delayMs(bucket);
  const nextReturnAt = Math.min(nextSlotAt(bucket), fullRefillAt(bucket));
  return nextReturnAt - at > doubtUntil - doubtFrom ? at : Infinity;
}

/** Adds slots for a call that cost `cost`, which return at `at` on the clock of the API's resets. */
export function addCallSlots(bucket: Bucket, at: number, cost: number, now: number): void {
  const localAt = toLocal(bucket, at);
  // The newest observation's `remaining` already includes these slots.
  if (cost === 0 || (bucket.countedUntil !== undefined && localAt <= bucket.countedUntil)) return;
  addSlots(bucket.slots, at, cost, Math.max(periodMs(bucket) ?? 0, localAt - now));
}

/**
 * Counts a call as spent that has no observation of its own. Its slots return a period from now.
 * Returns whether that time is known, which needs a reset or a configured period.
 */
export function countLost(bucket: Bucket, cost: number, now: number): boolean {
  const { resetAt, configuredPeriodMs } = bucket;
  const hasReturnTime = resetAt !== undefined || configuredPeriodMs !== undefined;
  const periodFromNow = fromLocal(bucket, now + (periodMs(bucket) ?? 0));
  // The call's own reset may be later than the newest that was reported.
  const latestAt = Math.max(resetAt ?? periodFromNow, periodFromNow);
  countUntil(bucket, cost, now, hasReturnTime ? latestAt : undefined);
  return hasReturnTime && bucket.phase === 'metered';
}

/**
 * Counts a call as spent whose answer does not report what remains. Its slots return at the reset that
 * it reports, else a period from now. The period is known from earlier resets, if from nothing else: no
 * answer of such an API shows more.
 */
export function countUnreported(
  bucket: Bucket,
  cost: number,
  now: number,
  reportedAt: number | undefined,
): void {
  const isAhead = reportedAt !== undefined && toLocal(bucket, reportedAt) > now;
  const period = periodMs(bucket);
  if (isAhead) countUntil(bucket, cost, now, reportedAt);
  else if (period === undefined || bucket.resetAt !== undefined) countLost(bucket, cost, now);
  else countUntil(bucket, cost, now, fromLocal(bucket, now + period));
}

/** Counts a call as spent until `returnsAt`, on the clock of the API's resets, if that is known. */
function countUntil(
  bucket: Bucket,
  cost: number,
  now: number,
  returnsAt: number | undefined,
): void {
  bucket.losses += cost;
  if (bucket.phase !== 'metered') return;
  bucket.remaining = Math.max(0, bucket.remaining - cost);
  if (bucket.share !== undefined) bucket.share.totalRemaining -= cost;
  if (returnsAt !== undefined) addCallSlots(bucket, returnsAt, cost, now);
  keepLastSlots(bucket.slots, maxSlots(bucket));
  // What remains may be too little for a request that costs more than one operation.
  if (returnsAt === undefined && bucket.inFlight === 0) scheduleCanary(bucket, now);
}

/**
 * Applies what the time up to `now` changes: slots that returned, the reset, the end of a back-off.
 * Ledgers must call it before any other function at the same `now`, and expire leases before it
 * (`expireLease` in leases.ts).
 */
export function advance(bucket: Bucket, now: number): void {
  applyReturns(bucket, now, true);
  // If slots returned meanwhile, the next regular grant tests the API. Otherwise a canary does.
  if (bucket.blockedUntil !== undefined && bucket.blockedUntil <= now) {
    bucket.blockedUntil = undefined;
    startSpending(bucket, now);
    bucket.isCanaryDue = needsCanary(bucket);
  }
  if (bucket.share !== undefined) advanceShare(bucket, bucket.share, now);
  if (bucket.canaryDueAt !== undefined && bucket.canaryDueAt <= now) {
    bucket.canaryDueAt = undefined;
    bucket.isCanaryDue = needsCanary(bucket);
  }
}

/** Ends the time for which an operation is set aside, and tests what remains if the report is old. */
function advanceShare(bucket: Bucket, share: Share, now: number): void {
  const { setAsideUntil, observedAt } = share;
  if (setAsideUntil !== undefined && setAsideUntil <= now) share.setAsideUntil = undefined;
  // Other replicas may have spent what was reported, so a canary tests it, as after a reset.
  const isStale = observedAt !== undefined && now - observedAt > OTHERS_FIRST_MS;
  const isUnverified = isStale && bucket.inFlight === 0 && available(bucket) > 0;
  if (isUnverified && !areOthersHeld(bucket, now)) holdOthers(bucket, now);
}

/** Applies the returns before `until`, or at it if it is `included`. */
export function applyReturns(bucket: Bucket, until: number, included: boolean): void {
  for (;;) {
    const slotAt = nextSlotAt(bucket);
    const refillAt = fullRefillAt(bucket);
    const at = Math.min(slotAt, refillAt);
    if (at > until || (at === until && !included)) return;
    bucket.lastReturnAt = at;
    if (refillAt <= slotAt) {
      refillByReset(bucket, refillAt);
    } else {
      // The stored time is used, because converting it to our clock and back may not be exact.
      const count = takeSlotsUntil(bucket.slots, bucket.slots.firsts[0] ?? 0);
      bucket.returns += count;
      bucket.remaining = Math.min(bucket.limit, bucket.remaining + count);
      if (bucket.share !== undefined) bucket.share.totalRemaining += count;
    }
  }
}

/** Assumes that the reset at `at` returned the whole limit, which a canary then tests. */
function refillByReset(bucket: Bucket, at: number): void {
  const { slots, resetAt } = bucket;
  bucket.returns += slots.size;
  // Operations that were lost after the newest observation may return later than its reset: in a
  // sliding log they do, in a window they do not. They count until the canary is answered.
  if (resetAt !== undefined) takeSlotsUntil(slots, resetAt);
  const nextRefillAt = fromLocal(bucket, at + (periodMs(bucket) ?? 0) + 1);
  bucket.remaining = Math.max(0, bucket.limit - countSlotsBefore(slots, nextRefillAt));
  clearSlots(slots);
  bucket.resetAt = undefined;
  startSpending(bucket, at);
  bucket.isCanaryDue = needsCanary(bucket);
  holdOthers(bucket, at);
}

/**
 * Applies what the newest observation, the answer to `lease`, shows of returns. `totalLimit` and `spent`
 * are those of the whole budget, not of a share. Returns whether the reset is ahead.
 */
export function refillObserved(
  bucket: Bucket,
  lease: Lease,
  resetAt: number | undefined,
  uncertaintyMs: number,
  totalLimit: number,
  spent: number,
  now: number,
): boolean {
  const { slots } = bucket;
  // The API counted the call at or after this time. Without the bound, a slow answer would make
  // the period too long.
  const countedAt = Math.max(lease.grantedAt, now - MAX_COUNTED_BEFORE_MS);
  const countedUntil = now + uncertaintyMs;
  const alreadyCounted = takeSlotsUntil(slots, fromLocal(bucket, countedUntil));
  keepLastSlots(slots, spent);
  const span = observationsToRemember(totalLimit);
  const returned = bucket.returns - lease.returns + alreadyCounted;
  // In a share, operations without a slot show nothing: the other replicas spend as well.
  const unmatched = bucket.share === undefined ? spent - slots.size : 0;
  // A call that was counted after all doubtful slots had returned includes them.
  if (bucket.doubtUntil === undefined || countedAt >= bucket.doubtUntil) bucket.doubtful = 0;
  if (returned > 0) {
    bucket.doubtful += returned;
    bucket.doubtFrom = countedAt;
    bucket.doubtUntil = countedUntil;
  }
  bucket.unmatched = unmatched;
  const byOthers = Math.max(0, unmatched - operationsInFlight(bucket) - bucket.doubtful);
  addToMax(bucket.othersSpent, byOthers, span);
  bucket.countedUntil = countedUntil;
  const localAt = resetAt === undefined ? now : toLocal(bucket, resetAt);
  bucket.resetAt = localAt > now ? resetAt : undefined;
  if (bucket.resetAt === undefined) return false;
  addToMax(bucket.observedPeriodMs, localAt - countedAt, span);
  return true;
}

/**
 * Applies an older answer, to `lease`, whose slots are added: the newest observation counts this call.
 *
 * Until now that observation's number kept earlier slots in place of this call's, although a leaky bucket
 * had drained them. Those that returned since were not spent, so they are taken back. While the lease was
 * in flight, its cost covered them.
 */
export function countedBefore(bucket: Bucket, { cost, returns }: Lease): void {
  bucket.unmatched -= cost;
  const excess = Math.max(0, bucket.slots.size - maxSlots(bucket));
  const returnedEarly = Math.min(excess, bucket.returns - returns);
  bucket.remaining = Math.max(0, bucket.remaining - returnedEarly);
  keepLastSlots(bucket.slots, maxSlots(bucket));
}

/**
 * Returns how many observations a maximum covers: enough to outlast one extreme value, and few enough
 * to notice a change.
 */
export function observationsToRemember(limit: number): number {
  return Math.max(64, 2 * limit);
}

/**
 * Whether a grant at `now` relies on a return so recent that a 429 to it shows that the return was
 * early.
 */
export function trustsClock(bucket: Bucket, now: number): boolean {
  const { lastReturnAt, uncertaintyMs } = bucket;
  if (lastReturnAt === undefined || available(bucket) <= 0) return false;
  return now - lastReturnAt <= uncertaintyMs + MAX_MARGIN_MS;
}
