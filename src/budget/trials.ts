import { MAX_UNKNOWN_RESET_WAIT_MS, type Bucket } from './bucket.ts';

/** How long other requests wait for the canary's answer, after the uncertainty of the reset. */
const HOLD_MS = 1000;
/** The longest time without a grant, but under a Retry-After. */
export const MAX_FORCED_AFTER_MS = 900_000;
/** Under a Retry-After, a canary is forced after this time at first. */
export const FORCED_UNDER_RETRY_AFTER_MS = 3_600_000;

/*
 * When a canary is granted: a single request that tests an assumption about the budget.
 *
 * - held: `remaining` is assumed, for example after a reset. One canary is granted, and all other
 *   requests wait for its answer, for a limited time.
 * - due: nothing is available. A canary is due at once after a reset or a back-off that left nothing
 *   available. Where no time of return is known it is due after a delay that doubles each time.
 * - forced: nothing was granted for too long. No assumption may stop a bucket for ever.
 */

/** Makes all requests but the canary wait: from `at` on, what is available is an assumption. */
export function holdOthers(bucket: Bucket, at: number): void {
  bucket.heldUntil = at + bucket.uncertaintyMs + HOLD_MS;
}

/** Whether all requests but the canary must wait. */
export function areOthersHeld({ heldUntil }: Bucket, now: number): boolean {
  return heldUntil !== undefined && now < heldUntil;
}

/** Schedules a canary, because no time of return is known. Each one waits twice as long. */
export function scheduleCanary(bucket: Bucket, now: number): void {
  if (bucket.canaryDueAt !== undefined) return;
  bucket.canaryDueAt = now + bucket.canaryWaitMs;
  bucket.canaryWaitMs = Math.min(bucket.canaryWaitMs * 2, MAX_UNKNOWN_RESET_WAIT_MS);
}

/**
 * Returns when a canary is granted in any state, because nothing else was granted for so long.
 * `Infinity` for a limit of this gateway.
 */
export function forcedCanaryAt(bucket: Bucket): number {
  const { blockedUntil, isRetryAfter, forcedAfterMs, lastGrantAt } = bucket;
  if (bucket.isOwnLimit) return Infinity;
  const isUnderRetryAfter = blockedUntil !== undefined && isRetryAfter;
  return (
    lastGrantAt +
    (isUnderRetryAfter
      ? Math.max(forcedAfterMs, FORCED_UNDER_RETRY_AFTER_MS)
      : Math.min(forcedAfterMs, MAX_FORCED_AFTER_MS))
  );
}
