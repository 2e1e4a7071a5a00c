import { MAX_WINDOW, type Bucket, type Lease } from './bucket.ts';

/** What a refusal leaves of the number of requests that were in flight. */
const CEILING_AFTER_REFUSAL = 0.75;
/** How much the ceiling grows while as many requests as it allows succeed. */
const CEILING_GROWTH = 0.35;
/** A window this large beyond what was expected shows that the expectation is outdated. */
const FORGET_WINDOW = 16;
/** An API that takes a request this soon after a refusal seems to limit the requests in flight. */
const SOON_MS = 500;

/*
 * How an API is approached that refuses requests by a limit that it does not report: it reports none
 * at all, or another one.
 *
 * It may limit a rate. Then it takes about as many requests between two refusals as between the two
 * before. That number is granted freely, after a first one has succeeded. Beyond that, slow start begins:
 * one request in flight, then two, four and so on, until the API refuses one.
 *
 * Or it may limit the requests in flight. A refusal lowers the ceiling of requests in flight, and
 * successes raise it slowly. If the API takes a request soon after a refusal, only the ceiling applies
 * from then on: nothing is expected, and the window is at its maximum. That ends at a refusal before
 * as many successes as the ceiling has, because a rate then refused it.
 */

/** Returns how many requests may be in flight to an API with an unknown limit. */
export function maxInFlight({ expected, taken, window, ceiling }: Bucket): number {
  if (expected > 0 && taken === 0) return 1;
  return Math.min(Math.floor(ceiling), Math.max(expected - taken, window));
}

/** Whether a metered bucket is limited by more than what the API reports. */
export function nearsUnknownLimit(bucket: Bucket): boolean {
  return bucket.expected > 0 || limitsInFlight(bucket);
}

/** The API took the request of `lease`. */
export function takenByApi(bucket: Bucket, lease: Lease): void {
  if (bucket.blockedAt !== undefined && lease.grantedAt <= bucket.blockedAt) {
    if (bucket.expected > 0) bucket.expected++;
    return;
  }
  bucket.taken++;
  bucket.ceiling = Math.min(bucket.ceiling + CEILING_GROWTH / bucket.ceiling, MAX_WINDOW);
  if (showsInFlightLimit(bucket, lease)) {
    bucket.expected = 0;
    bucket.window = MAX_WINDOW;
  }
  if (bucket.taken <= bucket.expected) return;
  // One more for each accepted request doubles the window in each round trip.
  bucket.window = Math.min(bucket.window + 1, MAX_WINDOW);
  if (bucket.phase === 'metered' && bucket.window > FORGET_WINDOW) {
    // From here on only the ceiling applies, and what the API reports.
    bucket.expected = 0;
    bucket.window = MAX_WINDOW;
  }
}

/** The API refused the request of `lease`, whose answer reports no budget. */
export function refusedByUnknownLimit(bucket: Bucket, lease: Lease): void {
  // The requests that were in flight at a refusal are refused by the same limit.
  if (bucket.blockedAt !== undefined && lease.grantedAt <= bucket.blockedAt) return;
  if (limitsInFlight(bucket) && bucket.taken > bucket.ceiling) {
    bucket.ceiling = Math.max(1, bucket.ceiling * CEILING_AFTER_REFUSAL);
  } else {
    const inFlight = bucket.inFlight + 1;
    if (inFlight > 1) bucket.ceiling = Math.max(1, inFlight * CEILING_AFTER_REFUSAL);
    // No rate is known, and the reported limit is not what refused it: others in flight may be.
    const isOther = bucket.hasReportedLimit && inFlight > 1 && bucket.remaining > 0;
    if (bucket.taken > 0 || isOther) bucket.expected = Math.max(1, bucket.taken);
    bucket.window = 1;
  }
  bucket.taken = 0;
}

/**
 * Whether the API took the request of `lease`, the first since a refusal, so soon that it limits the
 * requests in flight and not the rate.
 */
function showsInFlightLimit(bucket: Bucket, lease: Lease): boolean {
  const { expected, taken, ceiling, guesses, blockedAt } = bucket;
  if (expected === 0 || taken !== 1 || ceiling >= MAX_WINDOW) return false;
  return guesses === 1 && blockedAt !== undefined && lease.grantedAt - blockedAt <= SOON_MS;
}

/** Whether only the ceiling limits the requests in flight. */
export function limitsInFlight({ expected, window, ceiling }: Bucket): boolean {
  return expected === 0 && window === MAX_WINDOW && ceiling < MAX_WINDOW;
}
