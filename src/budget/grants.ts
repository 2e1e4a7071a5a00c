import { LEASE_MS, type Bucket, type GrantKind } from './bucket.ts';
import { available, checkAt, fullRefillAt, nextSlotAt, paceMs, uncountedSlots } from './refill.ts';
import { maxKept, reserveAt } from './reserve.ts';
import { statedReserveAt } from './stated-shares.ts';
import { nextExtraAt, shareGranted, totalLimit } from './share.ts';
import { limitsInFlight, maxInFlight, nearsUnknownLimit } from './unknown-limit.ts';
import { MAX_FORCED_AFTER_MS, areOthersHeld, forcedCanaryAt } from './trials.ts';

const MAX_FIRST_REQUEST_WAIT_MS = 60_000;

/**
 * Returns the kind of grant that a request which costs `cost` operations can have now; `undefined` when
 * it must wait.
 */
export function offer(bucket: Bucket, cost: number, now: number): GrantKind | undefined {
  return regularOffer(bucket, cost, now) ?? (now >= forcedCanaryAt(bucket) ? 'canary' : undefined);
}

/** Returns what {@link offer} does, without forced canaries. */
export function regularOffer(bucket: Bucket, cost: number, now: number): GrantKind | undefined {
  const { phase, inFlight } = bucket;
  if (bucket.blockedUntil !== undefined) return undefined;
  if (phase === 'unopened') {
    return inFlight === 0 || now >= bucket.nextFirstAt ? 'first' : undefined;
  }
  if (phase === 'unmetered') return inFlight < maxInFlight(bucket) ? 'regular' : undefined;
  if (nearsUnknownLimit(bucket) && inFlight >= maxInFlight(bucket)) return undefined;
  const needed = neededFor(bucket, cost);
  const left = available(bucket);
  const isCovered = left >= needed;
  const isAllowed = isCovered || now >= nextExtraAt(bucket, cost);
  if (isAllowed && !areOthersHeld(bucket, now)) return 'regular';
  if (bucket.canaryAt === undefined && (isCovered || bucket.isCanaryDue)) return 'canary';
  // While a lease is in flight, its answer shows what a canary would find out.
  const mayCheck = inFlight === 0 && now >= checkAt(bucket);
  return mayCheck && left + uncountedSlots(bucket) >= needed ? 'canary' : undefined;
}

/**
 * Returns how many operations must be available for a request. Its cost may be more than a share, or
 * more than a limit that was only concluded from what remained.
 */
function neededFor({ share, isLimitStated, limit }: Bucket, cost: number): number {
  return share === undefined && isLimitStated ? cost : Math.min(cost, limit);
}

/** Whether a request costs more than the API ever allows at once. */
export function isTooCostly(bucket: Bucket, cost: number): boolean {
  const { phase, isLimitStated, limit, share } = bucket;
  if (phase !== 'metered' || !isLimitStated) return false;
  // A share is rounded down.
  return share === undefined ? cost > limit : cost >= (limit + 1) * share.replicas;
}

/** Returns how many operations may be granted ahead of the requests that will spend them. */
export function maxPrefetched(bucket: Bucket, now: number): number {
  // Near an unknown limit, each grant depends on the answers before it.
  if (bucket.phase !== 'metered' || bucket.expected > 0) return 0;
  if (regularOffer(bucket, 1, now) !== 'regular') return 0;
  if (!limitsInFlight(bucket)) return Infinity;
  return Math.max(0, Math.floor(bucket.ceiling / 2) - bucket.inFlight);
}

/** Records grants that {@link offer} allowed, whose leases are counted already. */
export function granted(bucket: Bucket, kind: GrantKind, now: number): void {
  bucket.lastGrantAt = now;
  // Any grant tests the budget as well as a canary does.
  bucket.isCanaryDue = false;
  if (bucket.share !== undefined) {
    shareGranted(bucket, available(bucket), paceMs(bucket, totalLimit(bucket)), now);
  }
  if (kind === 'canary') bucket.canaryAt = now;
  if (kind === 'first') {
    bucket.nextFirstAt = now + bucket.firstWaitMs;
    bucket.firstWaitMs = Math.min(bucket.firstWaitMs * 2, MAX_FIRST_REQUEST_WAIT_MS);
  }
}

/**
 * Returns the earliest time at which {@link offer} may change. It is always finite. `oldestAt` is
 * when the oldest lease in flight was granted.
 */
export function nextWakeAt(bucket: Bucket, oldestAt: number | undefined, now: number): number {
  const check = checkAt(bucket);
  // A forced canary that is due already changes nothing: only a reserve keeps tickets waiting then.
  let at = sooner(now + MAX_FORCED_AFTER_MS, forcedCanaryAt(bucket), now);
  at = sooner(at, bucket.blockedUntil, now);
  at = sooner(at, nextSlotAt(bucket), now);
  at = sooner(at, fullRefillAt(bucket), now);
  if (bucket.inFlight === 0) at = sooner(at, check, now);
  at = sooner(at, bucket.heldUntil, now);
  at = sooner(at, nextExtraAt(bucket, 1), now);
  at = sooner(at, bucket.share?.setAsideUntil, now);
  at = sooner(at, bucket.canaryDueAt, now);
  if (maxKept(bucket, bucket.spread) > 0) at = sooner(at, reserveAt(bucket, now).releaseAt, now);
  if (bucket.stated !== undefined) {
    at = sooner(at, statedReserveAt(bucket, bucket.stated.owed, now).releaseAt, now);
  }
  if (bucket.phase === 'unopened') at = sooner(at, bucket.nextFirstAt, now);
  const dependsOnLeases =
    bucket.expected > 0 ||
    (limitsInFlight(bucket) && bucket.inFlight >= maxInFlight(bucket)) ||
    bucket.share !== undefined ||
    bucket.canaryAt !== undefined ||
    bucket.phase !== 'metered' ||
    check < Infinity;
  if (dependsOnLeases && oldestAt !== undefined) at = sooner(at, oldestAt + LEASE_MS, now);
  return Math.max(at, now);
}

/** Returns `time` if it is still ahead and before `at`, else `at`. */
function sooner(at: number, time: number | undefined, now: number): number {
  return time !== undefined && time > now && time < at ? time : at;
}
