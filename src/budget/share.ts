import { operationsInFlight, type Bucket, type Share } from './bucket.ts';

/** How long the other replicas have to spend their own shares first. */
export const OTHERS_FIRST_MS = 1000;
/** A grant belongs to a burst when at least the share's limit divided by this remains after it. */
const BURSTS_PER_SHARE = 4;

/** Starts a share at `now`, which is one of `replicas`. */
export function makeShare(replicas: number, now: number): Share {
  return {
    replicas,
    borrowAt: now + OTHERS_FIRST_MS,
    reclaimAt: now + OTHERS_FIRST_MS,
    setAsideUntil: undefined,
    observedAt: undefined,
    totalRemaining: 0,
    measuresFrom: now + OTHERS_FIRST_MS,
    isMeasured: false,
  };
}

/** Returns this replica's share of the API's limit, which is at least one operation. */
export function shareOfLimit({ share }: Bucket, totalLimit: number): number {
  return share === undefined ? totalLimit : Math.max(1, Math.floor(totalLimit / share.replicas));
}

/** Returns this replica's share of what remains. */
export function shareOfRemaining({ share }: Bucket, totalRemaining: number): number {
  return share === undefined ? totalRemaining : Math.floor(totalRemaining / share.replicas);
}

/** Returns the API's limit, of which `limit` is this replica's share. */
export function totalLimit({ share, limit }: Bucket): number {
  return share === undefined ? limit : limit * share.replicas;
}

/** Returns what remains of this replica's share; without other replicas, of the budget. */
export function ownRemaining({ share, remaining, limit, slots }: Bucket): number {
  if (share === undefined) return remaining;
  return Math.min(remaining, limit - slots.size) - (share.setAsideUntil === undefined ? 0 : 1);
}

/** Returns how many slots this replica can have spent at most. */
export function maxSlots(bucket: Bucket): number {
  const { share, limit, remaining } = bucket;
  return share === undefined ? limit - remaining : totalLimit(bucket);
}

/**
 * All replicas may start to spend their shares at `now`. Sets one operation aside, whose answer shows
 * later what the others leave.
 */
export function startSpending(bucket: Bucket, now: number): void {
  const { share } = bucket;
  if (share === undefined) return;
  const own = ownRemaining(bucket);
  share.measuresFrom = now + OTHERS_FIRST_MS;
  share.isMeasured = false;
  if (own > 1) share.setAsideUntil = now + OTHERS_FIRST_MS;
}

/** Records a grant, after which `own` operations of the share are available. */
export function shareGranted(bucket: Bucket, own: number, paceMs: number, now: number): void {
  const { share, limit } = bucket;
  if (share === undefined) return;
  // When much of this share is available at once, so is much of the others'.
  const isBurst = own > 0 && own * BURSTS_PER_SHARE >= limit;
  if (isBurst) {
    share.measuresFrom = now + OTHERS_FIRST_MS;
    share.isMeasured = false;
  }
  share.borrowAt = Math.max(share.borrowAt, now + (isBurst ? OTHERS_FIRST_MS : paceMs));
  share.reclaimAt = Math.max(share.borrowAt, now + paceMs * share.replicas);
}

/**
 * Returns when a request that costs `cost` may be granted beyond this replica's share, by borrowing or
 * reclaiming; `Infinity` when too little remains.
 */
export function nextExtraAt(bucket: Bucket, cost: number): number {
  const { share, inFlight } = bucket;
  if (share === undefined) return Infinity;
  const remaining = share.totalRemaining - operationsInFlight(bucket);
  if (remaining >= share.replicas - 1 + cost) {
    // A lease in flight will show what the others leave, so it is worth waiting for.
    return share.isMeasured || inFlight === 0 ? share.borrowAt : Infinity;
  }
  return remaining >= cost && !isShareUsedUp(bucket) ? share.reclaimAt : Infinity;
}

/**
 * Forecasts {@link nextExtraAt} for an operation with `ahead` such operations before it. It assumes that
 * no other replica spends what remains.
 */
export function nthExtraAt(bucket: Bucket, ahead: number, paceMs: number): number {
  const { share } = bucket;
  if (share === undefined) return Infinity;
  const { replicas } = share;
  const remaining = share.totalRemaining - operationsInFlight(bucket);
  if (ahead >= (isShareUsedUp(bucket) ? remaining - replicas + 1 : remaining)) return Infinity;
  return remaining >= replicas
    ? share.borrowAt + ahead * paceMs
    : share.reclaimAt + ahead * paceMs * replicas;
}

/** Records what the API reported at `at`, in the answer to a request granted at `grantedAt`. */
export function shareObserved(
  { share }: Bucket,
  totalRemaining: number,
  at: number,
  grantedAt: number,
): void {
  if (share === undefined) return;
  share.observedAt = at;
  share.totalRemaining = totalRemaining;
  share.isMeasured = share.isMeasured || grantedAt >= share.measuresFrom;
}

/** Whether this replica spent its whole share. */
function isShareUsedUp(bucket: Bucket): boolean {
  return bucket.slots.size + operationsInFlight(bucket) >= bucket.limit;
}
