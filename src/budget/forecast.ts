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

/**
 * Forecasts when the `rank`th waiting operation (from 1) is granted; `undefined` when too little is
 * known. The forecast assumes that no other consumer spends the budget.
 */
export function eta(bucket: Bucket, rank: number, now: number): number | undefined {
  const { blockedUntil } = bucket;
  const start = Math.max(now, blockedUntil ?? now);
  const unblockedAt = etaUnblocked(bucket, rank, now);
  if (unblockedAt === undefined) return blockedUntil === undefined ? undefined : start;
  return Math.max(start, unblockedAt);
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

/** Forecasts when the `rank`th of the available operations is granted: the reserve is the last part. */
function nthAvailableAt(bucket: Bucket, rank: number, left: number, now: number): number {
  const period = periodMs(bucket);
  if (rank <= left - maxKept(bucket, bucket.spread) || period === undefined) return now;
  const { kept, releaseAt } = reserveAt(bucket, now);
  const releases = kept - (left - rank);
  return releases <= 0 ? now : releaseAt + (releases - 1) * releaseEveryMs(bucket, period);
}

/**
 * Forecasts when the `n`th operation from now (from 0) is granted after its return. Of those that
 * return before a time in which none does, the last ones are kept, and released in that time.
 */
function nthGrantAt(bucket: Bucket, n: number, limit: number): number | undefined {
  const at = nthReturnAt(bucket, n, limit);
  const most = maxKept(bucket, bucket.spread);
  const period = periodMs(bucket);
  if (at === undefined || most === 0 || period === undefined) return at;
  const everyMs = releaseEveryMs(bucket, period);
  const nextFrom = at + everyMs;
  if ((nthReturnAt(bucket, n + most, limit) ?? at) < nextFrom) return at;
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
