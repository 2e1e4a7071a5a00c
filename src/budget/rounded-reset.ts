import type { Bucket, Lease } from './bucket.ts';
import { delayMs, fullRefillAt, toLocal } from './refill.ts';

/** The unit of a rounded reset, and of the lengths of windows. */
const SECOND_MS = 1000;
/** A reset that may be earlier by more than this gives too many times to test. */
const MAX_UNCERTAINTY_MS = 5000;
/** Windows that are aligned to the clock end at multiples of this. */
const EVEN_MS = 10_000;
/** How much later a canary is granted after one was refused at a time that had been late enough. */
const LATER_MS = 50;
/** After this many failures more than successes count for, no window is tested any more. */
const MAX_FAILURES = 4;
const SUCCESS = 0.25;
/** Times that differ by less are the same: fractions are inexact. */
const INEXACT_MS = 1;

/*
 * When a window whose reset the API reports in whole seconds is open again.
 *
 * Such a reset is up to a second later or earlier than reported, and the model must assume the latest
 * time. Two facts make it more exact. Windows have a length of whole seconds. So if it is known which
 * request opened the window, the window ends n seconds after that request's answer at the latest.
 * And a window that is aligned to the clock ends exactly at the reported time, which is then a multiple
 * of ten seconds. At the earliest such time a canary tests whether the window has ended. There is one
 * test in a window, and what it shows is remembered.
 */

/** Plans the test of the window whose reset was just observed. Returns when a canary is due for it. */
export function planTest(bucket: Bucket): number | undefined {
  bucket.rounded.testAt = nextTestAt(bucket);
  return bucket.rounded.testAt;
}

/** Whether `lease` is a canary that tests, before the latest reset, whether the window has ended. */
export function isTest(bucket: Bucket, { kind, grantedAt }: Lease): boolean {
  const { testAt } = bucket.rounded;
  const isDue = testAt !== undefined && grantedAt >= testAt && grantedAt < fullRefillAt(bucket);
  return kind === 'canary' && isDue && bucket.remaining === 0;
}

/**
 * Returns when a canary should test whether the window has ended, before its latest reset;
 * `undefined` where the reset is not rounded, or no such time is known.
 */
function nextTestAt(bucket: Bucket): number | undefined {
  const { resetAt, sameWithinMs, uncertaintyMs, rounded, slots } = bucket;
  const isRounded = sameWithinMs >= SECOND_MS && uncertaintyMs >= 2 * SECOND_MS;
  if (resetAt === undefined || !isRounded || uncertaintyMs > MAX_UNCERTAINTY_MS) return undefined;
  // In a sliding log operations return earlier, one by one. Other replicas would test as well.
  const isLog = (slots.firsts[0] ?? Infinity) < resetAt - sameWithinMs;
  if (isLog || rounded.failures >= MAX_FAILURES || bucket.share !== undefined) return undefined;
  const latestAt = toLocal(bucket, resetAt);
  let at = Infinity;
  if (!rounded.isUneven && isEven(reportedAt(bucket))) {
    at = latestAt - sameWithinMs + delayMs(bucket);
  } else if (rounded.openedAt !== undefined) {
    const earliestMs = latestAt - uncertaintyMs - rounded.openedAt;
    const isKnown = rounded.closedMs > earliestMs && rounded.closedMs < earliestMs + uncertaintyMs;
    const closedMs = isKnown ? rounded.closedMs : earliestMs;
    const nextMs = (Math.floor((closedMs + INEXACT_MS) / SECOND_MS) + 1) * SECOND_MS;
    const openMs = rounded.openMs > closedMs ? rounded.openMs : nextMs;
    at = rounded.openedAt + Math.min(openMs, nextMs);
  }
  return at < fullRefillAt(bucket) ? at : undefined;
}

/**
 * Learns from the answer to `lease`, before it becomes the newest observation. `spent` is how many
 * operations it counts as spent; if these are those of `lease`, it opened the window. `isOther`: it
 * reports another reset.
 */
export function learnRounding(
  bucket: Bucket,
  lease: Lease,
  spent: number,
  isOther: boolean,
  now: number,
): void {
  const { rounded } = bucket;
  const isOpening = spent > 0 && spent === lease.cost;
  if (isTest(bucket, lease)) {
    // More was spent: operations return one by one, or other consumers spend them as well.
    if (spent > lease.cost) rounded.failures = MAX_FAILURES;
    else rounded.failures = Math.max(0, rounded.failures - SUCCESS);
    const { openedAt } = rounded;
    if (isOpening && openedAt !== undefined) {
      rounded.openMs = Math.min(rounded.openMs, lease.grantedAt - openedAt);
    }
  }
  if (isOpening) rounded.openedAt = now;
  else if (isOther) rounded.openedAt = undefined;
}

/** Learns from the refusal of the test `lease`. `isOther`: it reports another reset. */
export function learnFromRefusal(bucket: Bucket, { grantedAt }: Lease, isOther: boolean): void {
  const { rounded, resetAt, sameWithinMs } = bucket;
  // The reset of a sliding log is later with each request.
  rounded.failures += isOther ? MAX_FAILURES : 1;
  const { openedAt } = rounded;
  rounded.testAt = undefined;
  rounded.openedAt = undefined;
  if (resetAt === undefined) return;
  const latestAt = toLocal(bucket, resetAt);
  if (grantedAt >= latestAt - sameWithinMs && isEven(reportedAt(bucket))) rounded.isUneven = true;
  if (openedAt === undefined) return;
  const sinceMs = grantedAt - openedAt;
  const isKnown = rounded.closedMs < latestAt - openedAt;
  rounded.closedMs = isKnown ? Math.max(rounded.closedMs, sinceMs) : sinceMs;
  if (rounded.openMs <= rounded.closedMs) rounded.openMs = rounded.closedMs + LATER_MS;
}

/** Returns the newest reset as the API rounded it, on its clock; `undefined` for a delay. */
function reportedAt({ stamp, basis, reportedResetAt, sameWithinMs }: Bucket): number | undefined {
  const at = stamp ?? (basis === 'instant' ? reportedResetAt : undefined);
  return at === undefined ? undefined : at - sameWithinMs;
}

function isEven(at: number | undefined): boolean {
  return at !== undefined && at === Math.floor(at / EVEN_MS) * EVEN_MS;
}
