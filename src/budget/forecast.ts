import type { Bucket } from './bucket.ts';
import {
  available,
  checkAt,
  delayMs,
  fullRefillAt,
  paceMs,
  periodMs,
  toLocal,
  uncountedSlots,
} from './refill.ts';
import { maxKept, releaseEveryMs, reserveAt } from './reserve.ts';
import { nthExtraAt, totalLimit } from './share.ts';
import { countSlotsBefore, nthSlotAt } from './slots.ts';
import { maxStated, statedEveryMs, statedReserveAt } from './stated-shares.ts';

/**
 * Forecasts when the `rank`th waiting operation (from 1) is granted; `undefined` when too little is
 * known. The forecast assumes that no other consumer spends the budget.
 */
export function eta(bucket: Bucket, rank: number, now: number): number | undefined {
  return afterBlock(bucket, etaUnblocked(bucket, rank, now), now);
}

/**
 * Forecasts when the `rank`th operation (from 1) of a caller is granted, if its stated share covers it.
 * Nothing is kept from such an operation, and what returns is granted to it first. `undefined` when too
 * little is known.
 */
export function etaInShare(bucket: Bucket, rank: number, now: number): number | undefined {
  if (bucket.phase !== 'metered') return afterBlock(bucket, undefined, now);
  const left = Math.max(0, available(bucket));
  const limit = Math.max(bucket.limit, bucket.slots.size);
  return afterBlock(bucket, rank <= left ? now : nthReturnAt(bucket, rank - left - 1, limit), now);
}

/** Returns the forecast `at`, but not before the end of a back-off. */
function afterBlock(bucket: Bucket, at: number | undefined, now: number): number | undefined {
  const { blockedUntil } = bucket;
  const start = Math.max(now, blockedUntil ?? now);
  if (at === undefined) return blockedUntil === undefined ? undefined : start;
  return Math.max(start, at);
}

function etaUnblocked(bucket: Bucket, rank: number, now: number): number | undefined {
  if (bucket.phase !== 'metered') return undefined;
  const left = Math.max(0, available(bucket));
  const ahead = rank - left - 1;
  if (ahead < 0) return nthAvailableAt(bucket, rank, left, now);
  if (bucket.share === undefined) return nthGrantAt(bucket, ahead, bucket.limit);
  const returnAt = nthGrantAt(bucket, ahead, Math.max(bucket.limit, bucket.slots.size));
  const extraAt = nthExtraAt(bucket, ahead, paceMs(bucket, totalLimit(bucket)));
  return extraAt < (returnAt ?? Infinity) ? extraAt : returnAt;
}

/**
 * Forecasts when the `rank`th of the available operations is granted. Stated shares are the last part,
 * and the reserve is the one before it.
 */
function nthAvailableAt(bucket: Bucket, rank: number, left: number, now: number): number {
  const period = periodMs(bucket);
  if (period === undefined) return now;
  const { stated } = bucket;
  let free = left;
  if (stated !== undefined) {
    const { kept, releaseAt } = statedReserveAt(bucket, stated.owed, now);
    free -= kept;
    if (kept > 0 && rank > free) {
      const most = Math.min(stated.owed, maxStated(bucket));
      return releaseAt + (rank - free - 1) * statedEveryMs(bucket, most, period);
    }
  }
  if (rank <= free - maxKept(bucket, bucket.spread)) return now;
  const { kept, releaseAt } = reserveAt(bucket, now);
  const releases = kept - (free - rank);
  return releases <= 0 ? now : releaseAt + (releases - 1) * releaseEveryMs(bucket, period);
}

/**
 * Forecasts when the `n`th operation to return from now (from 0) is granted. Where operations return and
 * then none does for a while, the last of them are kept, and released in that while.
 */
function nthGrantAt(bucket: Bucket, n: number, limit: number): number | undefined {
  const at = nthReturnAt(bucket, n, limit);
  const period = periodMs(bucket);
  if (at === undefined || period === undefined) return at;
  const most = maxKept(bucket, bucket.spread);
  const everyMs = releaseEveryMs(bucket, period);
  const ofCallers = maxStated(bucket);
  if (ofCallers === 0) return nthOfLastAt(bucket, n, limit, at, most, everyMs) ?? at;
  // Stated shares are the last part, and the reserve is the one before it.
  const everyStatedMs = statedEveryMs(bucket, ofCallers, period);
  const statedAt = nthOfLastAt(bucket, n, limit, at, ofCallers, everyStatedMs);
  if (statedAt !== undefined) return statedAt;
  const beforeAt = nthReturnAt(bucket, n + ofCallers, limit) ?? at;
  const keptAt = nthOfLastAt(bucket, n + ofCallers, limit, beforeAt, most, everyMs) ?? at;
  return Math.max(at, keptAt);
}

/**
 * Returns when the `n`th operation is released, if it is one that is kept; else `undefined`. It returns
 * at `at`. Kept are the last `most` operations before a while in which none returns, and one of them is
 * released in each `everyMs` of that while.
 */
function nthOfLastAt(
  bucket: Bucket,
  n: number,
  limit: number,
  at: number,
  most: number,
  everyMs: number,
): number | undefined {
  if (most === 0) return undefined;
  const nextFrom = at + everyMs;
  if ((nthReturnAt(bucket, n + most, limit) ?? at) < nextFrom) return undefined;
  // How many further operations return until that time, by bisection.
  let further = 1;
  let high = most;
  while (further < high) {
    const middle = Math.floor((further + high) / 2);
    if ((nthReturnAt(bucket, n + middle, limit) ?? at) >= nextFrom) high = middle;
    else further = middle + 1;
  }
  return Math.max(at, (nthReturnAt(bucket, n + further, limit) ?? at) - further * everyMs);
}

/**
 * Forecasts when the `n`th operation from now (from 0) returns, if each one is spent again at once:
 * first the slots, then `limit` operations at each reset. `undefined` when too little is known.
 */
function nthReturnAt(bucket: Bucket, n: number, limit: number): number | undefined {
  const { slots, resetAt } = bucket;
  const refillAt = fullRefillAt(bucket);
  const check = checkAt(bucket);
  const uncounted = check === Infinity ? 0 : uncountedSlots(bucket);
  if (n < uncounted) return check;
  const periods = Math.floor((n - uncounted) / limit);
  const rank = n - uncounted - periods * limit;
  const beforeReset = resetAt === undefined ? slots.size : countSlotsBefore(slots, resetAt);
  const slotAt = rank < beforeReset ? nthSlotAt(slots, rank) : undefined;
  const at = slotAt === undefined ? refillAt : toLocal(bucket, slotAt) + delayMs(bucket);
  if (at === Infinity) return undefined;
  if (periods === 0) return at;
  const period = periodMs(bucket);
  return period === undefined ? undefined : at + periods * period;
}
