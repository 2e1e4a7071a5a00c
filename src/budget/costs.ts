import type { Bucket, Lease } from './bucket.ts';
import { totalLimit } from './share.ts';
import { holdOthers } from './trials.ts';

/** How many single calls may measure the cost of a call before the others follow. */
const MAX_MEASURED = 3;
/** More than the limit divided by this is hardly the cost of one call. */
const LEAST_CALLS = 4;
/** Other consumers hardly spend more between two single calls. */
const MAX_BY_OTHERS = 50;

/*
 * How many operations a call costs that does not state it. The cost follows from how much `remaining`
 * falls by own calls. Other consumers make it fall as well, so the evidence for a higher cost is strict.
 * It has to fall by the same number with two single calls, one after the other, or by dozens: calls that
 * spend tokens each have another cost, and the lower of the two counts. Any lower number per call is
 * evidence for a lower cost.
 *
 * The first answer often shows at once that more was spent than one operation. Then up to two further
 * requests go alone, so that the cost is known before a burst.
 */

/** Learns from the answer to `lease`, which the API did not refuse. */
export function learnCost(bucket: Bucket, lease: Lease, now: number): void {
  // Other replicas spend the same budget, so nothing follows from its fall.
  if (bucket.share !== undefined) return;
  if (bucket.observations === 1) {
    bucket.lastFall = totalLimit(bucket) - bucket.reportedRemaining;
  } else {
    countCall(bucket, lease);
  }
  if (bucket.inFlight > 0) return;
  const fall = bucket.lastFall ?? 0;
  const isPlausible = fall > bucket.callCost && fall <= bucket.limit / LEAST_CALLS;
  if (isPlausible && bucket.observations < MAX_MEASURED) holdOthers(bucket, now);
  startMeasuring(bucket);
}

/** The answer to `lease` reports that it cost `cost` operations. */
export function correctCost(bucket: Bucket, lease: Lease, cost: number): void {
  // The cost of a call that stated another one shows nothing of the others.
  if (lease.cost === bucket.callCost) bucket.callCost = Math.max(1, cost);
  lease.cost = cost;
  boundCost(bucket);
}

/** A call costs no more than the limit. If it seemed to, all calls would be refused for ever. */
export function boundCost(bucket: Bucket): void {
  const { phase, isLimitStated, callCost } = bucket;
  if (phase !== 'metered' || !isLimitStated) return;
  bucket.callCost = Math.min(callCost, Math.max(1, totalLimit(bucket)));
}

/** Counts an accepted call, and learns from it if no other is in flight. */
function countCall(bucket: Bucket, { cost }: Lease): void {
  const { callCost, costFrom, reportedRemaining } = bucket;
  bucket.costCalls++;
  if (cost !== callCost) bucket.costFrom = undefined;
  if (bucket.inFlight > 0 || costFrom === undefined || cost !== callCost) return;
  // Operations that may have returned would make a call seem cheaper.
  if (bucket.doubtful > 0 || bucket.returns !== bucket.costReturns) return;
  if (bucket.losses !== bucket.costLosses) return;
  const fall = (costFrom - reportedRemaining) / bucket.costCalls;
  // If more remains than before, operations returned that were not expected yet.
  if (fall < 0) return;
  if (fall < callCost) {
    bucket.callCost = Math.max(1, Math.floor(fall));
  } else if (bucket.costCalls === 1 && fall === Math.floor(fall)) {
    const least = Math.min(fall, bucket.lastFall ?? 0);
    if (fall === bucket.lastFall || least > MAX_BY_OTHERS) bucket.callCost = least;
  }
  if (bucket.costCalls === 1) bucket.lastFall = fall;
}

function startMeasuring(bucket: Bucket): void {
  bucket.costFrom = bucket.doubtful > 0 ? undefined : bucket.reportedRemaining;
  bucket.costReturns = bucket.returns;
  bucket.costLosses = bucket.losses;
  bucket.costCalls = 0;
}
