import type { Bucket } from './bucket.ts';
import { available, fullRefillAt, noiseMs, periodMs } from './refill.ts';
import { keptUntilReturns, noReserve, type Reserve } from './reserve.ts';

/** The part of a window, before its reset, in which a share is released. */
const RELEASED_PART = 0.1;
/** A share is released no later than this before the reset, because requests take time to the API. */
const MIN_RELEASE_MS = 1000;
/** Slots that return within this part of a period return together. */
const TOGETHER_PART = 0.05;
/** Differences of operations below this are rounding. */
const ROUNDED = 1e-9;

/*
 * Stated shares: operations that are kept for one caller each, from all others. The settings state which
 * part of every limit that is. The ledger knows what each such caller used, and sets `stated`.
 *
 * In a window, all slots return together at the reset, whenever they were spent. So a share can be kept
 * until shortly before the reset, and is then released evenly: nothing of it is lost. Where each slot
 * returns a period after it was spent, each moment for which an operation is kept is lost. There a share
 * is released evenly over the period, as the reserve is (reserve.ts), which spreads the spending itself
 * within a few periods. Then little is kept, and what returns goes to the caller first until it has its
 * share.
 *
 * A log after a burst looks like a window. The first answer to an operation that is released late shows
 * the difference, as its slot returns later than the others.
 */

/** Returns how many operations a stated part of the limit is: at least one, but not the whole limit. */
export function statedOperations({ phase, limit, isOwnLimit }: Bucket, part: number): number {
  // Of a caller's quota nothing is kept for another caller.
  if (part <= 0 || phase !== 'metered' || isOwnLimit) return 0;
  return Math.max(0, Math.min(limit - 1, Math.max(1, Math.floor(limit * part + ROUNDED))));
}

/** Whether all slots return at about the same time, as in a window. */
export function returnsTogether(bucket: Bucket): boolean {
  const { slots, resetAt, sameWithinMs } = bucket;
  const first = slots.firsts[0];
  const period = periodMs(bucket);
  if (first === undefined || period === undefined) return true;
  const last = resetAt ?? slots.lastAt;
  return last - first <= period * TOGETHER_PART + sameWithinMs + noiseMs(bucket);
}

/**
 * Returns how many operations of its share a caller has used in the present period, if it had used
 * `used` of them at `usedAt`.
 */
export function usedOfShare(bucket: Bucket, used: number, usedAt: number, now: number): number {
  const period = periodMs(bucket);
  if (returnsTogether(bucket) || period === undefined) {
    return usedAt < (bucket.lastReturnAt ?? 0) ? 0 : used;
  }
  return used * Math.max(0, 1 - (now - usedAt) / period);
}

/** Returns how many operations a caller has not used of its stated part of the limit. */
export function owedOperations(bucket: Bucket, part: number, used: number): number {
  return Math.max(0, Math.floor(statedOperations(bucket, part) - used + ROUNDED));
}

/** Returns the most operations that all stated shares are together. */
export function maxStated(bucket: Bucket): number {
  return bucket.stated === undefined ? 0 : statedOperations(bucket, bucket.stated.part);
}

/** Returns the interval at which `most` operations of stated shares are released. */
export function statedEveryMs(bucket: Bucket, most: number, period: number): number {
  const releaseMs = returnsTogether(bucket)
    ? Math.min(period / 2, Math.max(period * RELEASED_PART, MIN_RELEASE_MS))
    : period;
  return releaseMs / most;
}

/** Returns what is kept at `now` of the `owed` operations that callers have not used of their shares. */
export function statedReserveAt(bucket: Bucket, owed: number, now: number): Reserve {
  const most = Math.min(owed, maxStated(bucket));
  const period = periodMs(bucket);
  if (most <= 0 || period === undefined) return noReserve();
  // In a window, operations in flight return at its reset as well.
  const isWindow = returnsTogether(bucket) && fullRefillAt(bucket) < Infinity;
  const lastAt = bucket.inFlight > 0 && !isWindow ? now + period : Infinity;
  return keptUntilReturns(bucket, most, statedEveryMs(bucket, most, period), lastAt, now);
}

/**
 * Whether a request fits beside all stated shares. One that does not might never find so much, so no
 * share keeps it waiting.
 */
export function fitsBesideShares(bucket: Bucket, cost: number): boolean {
  return cost <= bucket.limit - maxStated(bucket);
}

/**
 * Returns how many operations are kept at `now` from a request that costs `cost`, for callers other than
 * its own. `own` is how much its own caller has not used of its share.
 */
export function keptForOthers(bucket: Bucket, own: number, cost: number, now: number): number {
  const { stated } = bucket;
  if (stated === undefined || own >= cost || !fitsBesideShares(bucket, cost)) return 0;
  const others = Math.max(0, stated.owed - own);
  const left = available(bucket) - cost;
  // Nothing is kept for others, or nothing is left anyway.
  if (others === 0 || left < 0) return 0;
  // While much is left, it makes no difference whether some of it is released already.
  if (left >= others + bucket.limit / 2) return others;
  return statedReserveAt(bucket, others, now).kept;
}
