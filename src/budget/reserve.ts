import { operationsInFlight, type Bucket, type GrantKind } from './bucket.ts';
import { available, delayMs, fromLocal, fullRefillAt, periodMs } from './refill.ts';
import { chunkAt } from './slots.ts';

/** Which part of the limit is kept, unless the settings say otherwise. */
export const DEFAULT_SPREAD = 0.2;
/** With a smaller limit, one operation is too much to keep. */
const MIN_LIMIT = 5;
/** Operations are released at least this often in a period. */
const MIN_RELEASES = 4;
/** Differences of this part of an interval are rounding. */
const ROUNDING = 1e-6;

/*
 * The reserve: operations that are kept from owners who use more than their share, for owners that do
 * not wait now. The ledger knows the owners, and sets `spread`: which part of the limit may be kept.
 *
 * Without a reserve, one owner spends a window in its first second, and all others wait for its reset.
 * With it, one operation becomes available in each interval until enough return. The interval is the
 * period divided by that part of the limit. So the reserve is the number of operations that make this
 * possible: the intervals until each return, less the operations that return before. It shrinks by one
 * in each interval, and nothing is left of it when the slots return. Where slots return evenly, as in a
 * leaky bucket, nothing is kept.
 */

/** What is kept now, and when that becomes one less. */
export interface Reserve {
  readonly kept: number;
  readonly releaseAt: number;
}

/** Returns a reserve of nothing. */
export function noReserve(): Reserve {
  return { kept: 0, releaseAt: Infinity };
}

/** Returns the most operations that a reserve of `spread` keeps. */
export function maxKept({ phase, limit }: Bucket, spread: number): number {
  if (spread <= 0 || phase !== 'metered' || limit < MIN_LIMIT) return 0;
  return Math.max(1, Math.floor(limit * spread));
}

/** Returns the interval at which operations of the reserve are released. */
export function releaseEveryMs(bucket: Bucket, period: number): number {
  return period / Math.max(MIN_RELEASES, bucket.limit * bucket.spread);
}

/** Returns what is kept at `now`. */
export function reserveAt(bucket: Bucket, now: number): Reserve {
  const most = maxKept(bucket, bucket.spread);
  const period = periodMs(bucket);
  if (most === 0 || period === undefined) return noReserve();
  // Operations in flight return about a period from now, wherever the reset is.
  const lastAt = bucket.inFlight > 0 ? now + period : Infinity;
  return keptUntilReturns(bucket, most, releaseEveryMs(bucket, period), lastAt, now);
}

/**
 * Returns what is kept at `now` of at most `most` operations, so that one becomes available in each
 * interval until enough return. `lastAt`: when those in flight return at the latest; `Infinity` for none.
 */
export function keptUntilReturns(
  bucket: Bucket,
  most: number,
  everyMs: number,
  lastAt: number,
  now: number,
): Reserve {
  const { slots } = bucket;
  const refillAt = fullRefillAt(bucket);
  const returning = bucket.limit - available(bucket) - operationsInFlight(bucket);
  // Converts a stored time to ours, as `toLocal` does.
  const shift = now - fromLocal(bucket, now) + delayMs(bucket);
  const chunk = slots.chunks.length > 0 ? chunkAt(slots, 0) : undefined;
  let kept = 0;
  let releaseAt = Infinity;
  // How many operations return before the time that is looked at.
  let before = 0;
  // The entries of the first chunk, then the other chunks as wholes, which need not be read.
  let entry = slots.head;
  let place = 1;
  let isRefilled = false;
  while (before < most) {
    const isEntry = chunk !== undefined && entry < chunk.times.length;
    const stored = isEntry ? chunk.times[entry] : slots.firsts[place];
    const returnAt = stored === undefined ? refillAt : Math.min(stored + shift, refillAt);
    const at = isRefilled || returnAt === Infinity ? lastAt : returnAt;
    // Nothing else is known to return.
    if (at === Infinity) return { kept, releaseAt };
    const needed = Math.ceil((at - now) / everyMs - ROUNDING) - 1 - before;
    const wanted = Math.min(needed, most);
    if (wanted > 0 && wanted >= kept) {
      const lessAt = at - (wanted + before) * everyMs;
      releaseAt = wanted > kept ? lessAt : Math.max(releaseAt, lessAt);
      kept = wanted;
    }
    if (at === lastAt) return { kept, releaseAt };
    if (at === refillAt) {
      isRefilled = true;
      before = Math.max(before, returning);
    } else {
      before += (isEntry ? chunk.counts[entry] : slots.totals[place]) ?? 0;
      if (isEntry) entry++;
      else place++;
    }
  }
  return { kept, releaseAt };
}

/**
 * Whether a request that costs `cost` operations would take from what `spread` keeps at most. One that
 * costs nearly the whole limit never does, because it might never find that much outside the reserve.
 */
export function isScarce(bucket: Bucket, spread: number, cost: number): boolean {
  const left = available(bucket) - cost;
  const most = maxKept(bucket, spread);
  return left >= 0 && left < most && cost <= bucket.limit - most;
}

/**
 * Whether the reserve may keep a request waiting that is offered such a grant. A single request that
 * tests the budget does not wait, unless the answers to others in flight show the same.
 */
export function mayKeep({ inFlight }: Bucket, kind: GrantKind | undefined): boolean {
  return kind === 'regular' || (kind === 'canary' && inFlight > 0);
}

/** Whether the reserve keeps a request waiting that costs `cost` operations. */
export function isKept(bucket: Bucket, cost: number, now: number): boolean {
  if (!isScarce(bucket, bucket.spread, cost)) return false;
  return available(bucket) - cost < reserveAt(bucket, now).kept;
}
