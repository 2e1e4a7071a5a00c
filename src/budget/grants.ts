import { LEASE_MS, type Bucket, type GrantKind } from './bucket.ts';
import { available, checkAt, countLost, fullRefillAt, nextSlotAt, paceMs } from './refill.ts';
import { nextExtraAt, shareGranted, totalLimit } from './share.ts';
import { maxInFlight } from './unknown-limit.ts';
import { areOthersHeld, forcedCanaryAt, scheduleCanary } from './trials.ts';

const MAX_FIRST_REQUEST_WAIT_MS = 60_000;

/** Returns the kind of grant that a request can have now; `undefined` when it must wait. */
export function offer(bucket: Bucket, now: number): GrantKind | undefined {
  return regularOffer(bucket, now) ?? (now >= forcedCanaryAt(bucket) ? 'canary' : undefined);
}

/** Returns what {@link offer} does, without forced canaries. */
export function regularOffer(bucket: Bucket, now: number): GrantKind | undefined {
  const { phase, inFlight } = bucket;
  if (bucket.blockedUntil !== undefined) return undefined;
  if (phase === 'unopened') {
    return inFlight === 0 || now >= bucket.nextFirstAt ? 'first' : undefined;
  }
  if (phase === 'unmetered') return inFlight < maxInFlight(bucket) ? 'regular' : undefined;
  if (bucket.expected > 0 && inFlight >= maxInFlight(bucket)) return undefined;
  const left = available(bucket);
  const isAllowed = left > 0 || now >= nextExtraAt(bucket);
  if (isAllowed && !areOthersHeld(bucket, now)) return 'regular';
  if (bucket.canaryAt === undefined && (left > 0 || bucket.isCanaryDue)) return 'canary';
  // While a lease is in flight, its answer shows what a canary would find out.
  return inFlight === 0 && now >= checkAt(bucket) ? 'canary' : undefined;
}

/** Whether operations may be granted ahead of the requests that will spend them. */
export function mayPrefetch(bucket: Bucket, now: number): boolean {
  // Near an unknown limit, each grant depends on the answers before it.
  if (bucket.phase !== 'metered' || bucket.expected > 0) return false;
  return regularOffer(bucket, now) === 'regular';
}

/** Records `count` grants, which {@link offer} allowed. */
export function granted(bucket: Bucket, kind: GrantKind, count: number, now: number): void {
  bucket.inFlight += count;
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

/** The request of a lease that ended was never sent, and cost nothing. */
export function unsent(bucket: Bucket, kind: GrantKind): void {
  if (kind === 'canary') bucket.isCanaryDue = available(bucket) <= 0;
  if (kind === 'first') bucket.nextFirstAt = 0;
}

/**
 * The request of a lease that ended may have reached the API and will have no answer. It counts as
 * spent.
 */
export function lost(bucket: Bucket, kind: GrantKind, now: number): void {
  countLost(bucket, now);
  if (kind === 'canary') scheduleCanary(bucket, now);
}

/**
 * Returns the earliest time at which {@link offer} may change. It is always finite. `oldestAt` is
 * when the oldest lease in flight was granted.
 */
export function nextWakeAt(bucket: Bucket, oldestAt: number | undefined, now: number): number {
  const check = checkAt(bucket);
  let at = forcedCanaryAt(bucket);
  at = sooner(at, bucket.blockedUntil, now);
  at = sooner(at, nextSlotAt(bucket), now);
  at = sooner(at, fullRefillAt(bucket), now);
  if (bucket.inFlight === 0) at = sooner(at, check, now);
  at = sooner(at, bucket.heldUntil, now);
  at = sooner(at, nextExtraAt(bucket), now);
  at = sooner(at, bucket.share?.reservedUntil, now);
  at = sooner(at, bucket.canaryDueAt, now);
  if (bucket.phase === 'unopened') at = sooner(at, bucket.nextFirstAt, now);
  const dependsOnLeases =
    bucket.expected > 0 ||
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
