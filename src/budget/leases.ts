import { LEASE_MS, type Bucket, type Lease } from './bucket.ts';
import { applyReturns, available, checkAt, countLost, needsCanary } from './refill.ts';
import { scheduleCanary } from './trials.ts';

/*
 * How leases begin and end. The ledger keeps the leases, and the bucket counts them. A lease ends with
 * its answer (answers.ts), or in one of the ways below. An expired lease counts as lost, and a late
 * answer to it is still applied.
 */

/** Counts a lease in flight that spends `cost` operations. */
export function addLease(bucket: Bucket, cost: number): void {
  bucket.inFlight++;
  bucket.extraInFlight += cost - 1;
}

/** Ends a lease in flight. An answer, {@link unsent}, {@link renewed} or {@link lost} follows. */
export function endLease(bucket: Bucket, lease: Lease): void {
  bucket.inFlight--;
  bucket.extraInFlight -= lease.cost - 1;
  if (lease.kind === 'canary' && bucket.canaryAt === lease.grantedAt) bucket.canaryAt = undefined;
}

/** The request of a lease that ended was never sent, and cost nothing. */
export function unsent(bucket: Bucket, { kind, grantedAt }: Lease): void {
  // A check for slots in doubt is offered again by itself, if they cover the cost of the next request.
  // A request that was granted later tests the budget as well.
  if (kind === 'canary' && bucket.lastGrantAt === grantedAt) {
    bucket.isCanaryDue = needsCanary(bucket) && checkAt(bucket) === Infinity;
  }
  if (kind === 'first') bucket.nextFirstAt = 0;
}

/**
 * A lease ended whose request is sent later, with another lease that is counted already. Meanwhile
 * another request may be the test, unless what is assumed to remain covers this one as well.
 */
export function renewed(bucket: Bucket, lease: Lease): void {
  if (lease.kind !== 'canary' || available(bucket) < 0) unsent(bucket, lease);
}

/**
 * The request of a lease that ended may have reached the API and will have no answer. It counts as
 * spent.
 */
export function lost(bucket: Bucket, { kind, cost }: Lease, now: number): void {
  countLost(bucket, cost, now);
  if (kind === 'canary') scheduleCanary(bucket, now);
}

/**
 * Counts the oldest lease as lost. It has had no answer for {@link LEASE_MS}; a later answer may
 * still arrive. Ledgers must expire all such leases, oldest first, before they call `advance` (refill.ts).
 */
export function expireLease(bucket: Bucket, lease: Lease, now: number): void {
  // The order matters: the reset also returns the slot of a lease that expired before it.
  applyReturns(bucket, lease.grantedAt + LEASE_MS, false);
  endLease(bucket, lease);
  lease.loss = lease.cost;
  lease.recorded = countLost(bucket, lease.cost, now);
  if (lease.kind === 'canary') scheduleCanary(bucket, now);
}
