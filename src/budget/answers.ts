import {
  FIRST_REQUEST_WAIT_MS,
  FORCED_AFTER_MS,
  MAX_WINDOW,
  type Bucket,
  type Lease,
  UNKNOWN_RESET_WAIT_MS,
  MAX_UNKNOWN_RESET_WAIT_MS,
  makeRoundedReset,
} from './bucket.ts';
import { boundCost, correctCost, learnCost } from './costs.ts';
import type { Observation } from './observation.ts';
import {
  MAX_MARGIN_MS,
  addCallSlots,
  countUnreported,
  countedBefore,
  fullRefillAt,
  nextSlotAt,
  noiseMs,
  observationsToRemember,
  refillObserved,
  switchBasis,
  toLocal,
} from './refill.ts';
import { isTest, learnFromRefusal, learnRounding, planTest } from './rounded-reset.ts';
import { shareObserved, shareOfLimit, shareOfRemaining, totalLimit } from './share.ts';
import {
  FORCED_UNDER_RETRY_AFTER_MS,
  MAX_FORCED_AFTER_MS,
  areOthersHeld,
  holdOthers,
  scheduleCanary,
} from './trials.ts';
import {
  limitsInFlight,
  nearsUnknownLimit,
  refusedByUnknownLimit,
  takenByApi,
} from './unknown-limit.ts';
import { addToMax, makeWindowedMax } from './windowed-max.ts';

const FIRST_MARGIN_MS = 50;
/** The factor that narrows the margin. */
const MARGIN_DECAY = 0.99;
/** The longest time until a forced canary under a Retry-After: a day. */
const MAX_FORCED_MS = 86_400_000;
/** Resets that differ by more than this are not the same reset. */
const MAX_NOISE_MS = 500;
/** Less is the inexactness of fractions. */
const MIN_NOISE_MS = 0.01;
const MIN_GUESS_MS = 50;
/** The first guess where other requests are in flight. */
const WAIT_BESIDE_OTHERS_MS = 250;
/** Beyond this exponent the guess is at its maximum, and 2 to the power of it stays finite. */
const MAX_EXPONENT = 16;

/**
 * Applies the answer to `lease`, whose headers arrived at `now`. `wasInFlight`: the lease had not
 * expired before. `random` is the jitter of a back-off after a 429 that reports no time.
 */
export function answered(
  bucket: Bucket,
  lease: Lease,
  wasInFlight: boolean,
  observation: Observation,
  now: number,
  random: () => number,
): void {
  if (lease.kind === 'first') bucket.firstWaitMs = FIRST_REQUEST_WAIT_MS;
  if (observation.cost !== undefined) correctCost(bucket, lease, observation.cost);
  const { status, remaining, resetAt, retryAt } = observation;
  const isThrottled = status === 429;
  if (bucket.phase === 'metered' && !isThrottled) takenByApi(bucket, lease);
  if (remaining === undefined && !isThrottled) {
    if (wasInFlight) answeredWithoutHeaders(bucket, lease, observation, now);
    return;
  }
  if (!reportsCount(bucket, observation)) {
    // It says at most a limit, or until when to wait. That is no budget.
    refusedByUnknownLimit(bucket, lease);
    // What the API reports to remain is not what refused the request.
    if (!nearsUnknownLimit(bucket)) bucket.remaining = 0;
    refused(bucket, lease, observation, now, random);
    return;
  }
  switchBasis(bucket, observation);
  const isResetPast = resetAt !== undefined && toLocal(bucket, resetAt) <= now;
  const knownResetAt = bucket.resetAt === undefined ? now : toLocal(bucket, bucket.resetAt);
  const isRefused = isThrottled && (remaining ?? 0) === 0;
  if (isResetPast && knownResetAt > now) {
    // Its numbers belong to an earlier window, but a Retry-After is an instruction.
    if (isRefused && (retryAt ?? now) > now) refused(bucket, lease, observation, now, random);
    return;
  }
  const isUnrecorded = (wasInFlight || !lease.recorded) && !isThrottled;
  if (isUnrecorded && resetAt !== undefined && !isResetPast) {
    addCallSlots(bucket, resetAt, lease.cost, now);
  }
  if (isRefused && isTest(bucket, lease)) {
    // It was granted before the known reset, and shows nothing else.
    learnFromRefusal(bucket, lease, isOtherReset(bucket, observation));
    refused(bucket, lease, observation, now, random);
    return;
  }
  const left = totalRemainingOf(bucket, lease, observation) - lostSince(bucket, lease);
  const laterMs = resetLaterMs(bucket, observation);
  learnFromOrder(bucket, lease, observation, left, laterMs);
  if (!isNewest(bucket, lease, observation, left, laterMs)) {
    keepLaterReset(bucket, observation);
    countedBefore(bucket, lease);
    if (!isThrottled) learnCost(bucket, lease, now);
    return;
  }
  observe(bucket, lease, observation, now);
  if (isRefused) {
    refused(bucket, lease, observation, now, random);
    return;
  }
  if (!isThrottled) learnCost(bucket, lease, now);
  bucket.forcedAfterMs = FORCED_AFTER_MS;
  bucket.guesses = 0;
  if (lease.trusted) bucket.marginMs *= MARGIN_DECAY;
}

/**
 * Whether a refusal, or an answer that reports what remains, shows the budget. A refusal that says only
 * that nothing remains does not, if no answer has reported a count: accepted ones may never do.
 */
function reportsCount(
  { hasReportedLimit }: Bucket,
  { status, limit, remaining, resetAt }: Observation,
): boolean {
  if (resetAt !== undefined) return (remaining ?? limit) !== undefined;
  return remaining !== undefined && (status !== 429 || remaining > 0 || hasReportedLimit);
}

/** Applies an answer that does not report what remains. */
function answeredWithoutHeaders(
  bucket: Bucket,
  lease: Lease,
  observation: Observation,
  now: number,
): void {
  const { status, resetAt } = observation;
  if (bucket.phase === 'metered') {
    // An API that reports its limit does so on every answer that it counts. A 4xx without rate
    // headers was refused before it was counted. A 5xx may have failed after it was counted.
    const isUncounted = bucket.hasReportedLimit && status >= 400 && status < 500;
    if (isUncounted) return;
    switchBasis(bucket, observation);
    // The canary has found that the API takes requests again, and its answer says no more.
    if (lease.kind === 'canary' && status < 400 && areOthersHeld(bucket, now)) {
      bucket.heldUntil = undefined;
      if (bucket.share === undefined) bucket.remaining = bucket.limit;
    }
    countUnreported(bucket, lease.cost, now, resetAt);
    return;
  }
  if (bucket.phase === 'unopened') bucket.nextFirstAt = 0;
  if (status < 200 || status >= 300) return;
  bucket.phase = 'unmetered';
  takenByApi(bucket, lease);
  if (bucket.blockedAt === undefined || lease.grantedAt > bucket.blockedAt) bucket.guesses = 0;
}

/**
 * Whether `observation`, the answer to `lease`, is newer than the newest. Answers can arrive in
 * another order than the API gave them in. `left` is what remains after it, and `laterMs` is by how
 * much its reset is later.
 *
 * An answer to a request that was granted after the newest observation is newer. Otherwise the later
 * reset is newer, if the counts do not contradict it. An API that computes a reset for each answer
 * reports the same reset with differences. So where resets differ by little, the lower count is newer,
 * unless returns explain the counts and no difference was ever found.
 */
function isNewest(
  bucket: Bucket,
  lease: Lease,
  observation: Observation,
  left: number,
  laterMs: number,
): boolean {
  if (isAfterNewest(bucket, lease)) return true;
  // The coarser of the two limits how far apart reports of the same reset can be.
  const sameWithinMs = Math.max(observation.sameWithinMs, bucket.sameWithinMs);
  const farMs = Math.max(sameWithinMs, MAX_NOISE_MS);
  if (laterMs > farMs) return true;
  if (laterMs < -farMs) return false;
  const known = bucket.share === undefined ? bucket.remaining : bucket.share.totalRemaining;
  const returned = noiseMs(bucket) > 0 ? 0 : bucket.returns - lease.returns + bucket.doubtful;
  // The later reset is newer, unless more is left than returns explain.
  if (laterMs > sameWithinMs) return left <= known || left - known < returned;
  // Of the same reset, the lower count is newer; of an earlier one, only if returns do not explain it.
  return left < known && (laterMs >= -sameWithinMs || known - left >= returned);
}

/** Whether the request of `lease` was granted after the newest observation. */
function isAfterNewest({ observations }: Bucket, { observation }: Lease): boolean {
  return observations === 0 || observation >= observations;
}

/**
 * Learns by how much reports of the same reset differ, from an answer whose order is known: one to a
 * request that was granted after the newest observation, and one whose count shows the order. The count
 * shows it if nothing returned while the request and the one answered before were in flight.
 */
function learnFromOrder(
  bucket: Bucket,
  lease: Lease,
  { resetAt, stamp, sameWithinMs }: Observation,
  left: number,
  laterMs: number,
): void {
  if (isAfterNewest(bucket, lease)) learnNoise(bucket, -laterMs - bucket.sameWithinMs);
  const { returns } = lease;
  const at = stamp ?? resetAt;
  const { last } = bucket;
  const isOrdered = returns === bucket.returns && last.returns === returns && bucket.doubtful === 0;
  if (isOrdered && at !== undefined && last.resetAt !== undefined && left !== last.left) {
    const laterThanLastMs = left < last.left ? at - last.resetAt : last.resetAt - at;
    learnNoise(bucket, -laterThanLastMs - Math.max(sameWithinMs, bucket.sameWithinMs));
  }
  last.resetAt = at;
  last.left = left;
  last.returns = returns;
}

/** Learns that two reports of the same reset differed by `ms`, besides rounding and travel time. */
function learnNoise(bucket: Bucket, ms: number): void {
  const isNoise = ms > MIN_NOISE_MS && ms <= MAX_NOISE_MS;
  addToMax(bucket.noiseMs, isNoise ? ms : 0, observationsToRemember(totalLimit(bucket)));
}

/**
 * Returns what the API reports to remain of the whole budget, and not only of a share of it. The call
 * that it answers is counted.
 */
function totalRemainingOf(
  bucket: Bucket,
  { cost }: Lease,
  { status, remaining = 0 }: Observation,
): number {
  const uncounted = bucket.countsBefore && status !== 429 ? cost : 0;
  return Math.max(0, remaining - uncounted);
}

/** Returns how many operations were lost that the answer to `lease` may not count. */
function lostSince(bucket: Bucket, lease: Lease): number {
  return bucket.losses - lease.losses - lease.loss;
}

/** Returns by how much the observation's reset is later than the newest one; 0 if it is unknown. */
function resetLaterMs(bucket: Bucket, { resetAt, stamp }: Observation): number {
  const hasStamps = stamp !== undefined && bucket.stamp !== undefined;
  const at = hasStamps ? stamp : resetAt;
  const newestAt = hasStamps ? bucket.stamp : bucket.reportedResetAt;
  return at === undefined || newestAt === undefined ? 0 : at - newestAt;
}

/** Whether the observation's reset is later than the newest one, and not by rounding. */
function isOtherReset(bucket: Bucket, observation: Observation): boolean {
  const sameWithinMs = Math.max(bucket.sameWithinMs, observation.sameWithinMs);
  return resetLaterMs(bucket, observation) > sameWithinMs;
}

/**
 * Applies the reset of an answer that seems to be older, if it is later than the newest one's. A leaky
 * bucket drains between two answers although no slot returns, so the counts can show the wrong order.
 */
function keepLaterReset(bucket: Bucket, observation: Observation): void {
  if (!isOtherReset(bucket, observation)) return;
  const { resetAt, stamp } = observation;
  bucket.reportedResetAt = resetAt;
  bucket.stamp = stamp;
  if (bucket.resetAt !== undefined) bucket.resetAt = resetAt;
}

/**
 * Applies the newest observation, the answer to `lease`. First comes what a comparison with the state
 * before it shows, then the numbers that it reports, then what follows from them.
 */
function observe(bucket: Bucket, lease: Lease, observation: Observation, now: number): void {
  const { remaining: reported = 0, uncertaintyMs } = observation;
  const isThrottled = observation.status === 429;
  const isFirst = bucket.observations === 0;
  // No later call has an earlier reset. If it is reported so, the one reported before stands.
  const earlierMs = -resetLaterMs(bucket, observation);
  const keepsReset = earlierMs > bucket.sameWithinMs && earlierMs <= MAX_NOISE_MS;
  const resetAt = keepsReset ? bucket.reportedResetAt : observation.resetAt;
  const reportedLimit = Math.max(observation.limit ?? totalLimit(bucket), reported, 1);
  // The answer to a single request in a full budget shows whether it is counted. A limit that is only
  // concluded from what remained is no measure of that.
  const isStated = bucket.isLimitStated || observation.limit !== undefined;
  const isAlone = (isFirst || bucket.heldUntil !== undefined) && lease.kind !== 'regular';
  if (isAlone && isStated && !isThrottled) {
    if (reported === reportedLimit) bucket.countsBefore = true;
    else if (reported === reportedLimit - lease.cost) bucket.countsBefore = false;
  }
  const totalRemaining = totalRemainingOf(bucket, lease, observation);
  const spent = reportedLimit - totalRemaining;
  const limit = shareOfLimit(bucket, reportedLimit);
  const remainingOfShare = shareOfRemaining(bucket, totalRemaining);
  const remaining = Math.max(0, remainingOfShare - lostSince(bucket, lease));
  // The periods that were observed belong to the limit that the API reported with them.
  if (limit !== bucket.limit) {
    bucket.observedPeriodMs = makeWindowedMax();
    bucket.rounded = makeRoundedReset();
    bucket.costFrom = undefined;
  }
  if (isThrottled) bucket.rounded.openedAt = undefined;
  else learnRounding(bucket, lease, spent, isOtherReset(bucket, observation), now);
  const isOtherLimit = !isFirst && limit !== bucket.limit && remaining > bucket.remaining;

  bucket.phase = 'metered';
  bucket.hasReportedLimit = true;
  bucket.observations++;
  bucket.observedAt = now;
  bucket.reportedRemaining = reported;
  if (!keepsReset) {
    bucket.reportedResetAt = resetAt;
    bucket.stamp = observation.stamp;
    bucket.sameWithinMs = observation.sameWithinMs;
  }
  bucket.limit = limit;
  bucket.isLimitStated = bucket.isLimitStated || observation.limit !== undefined;
  bucket.remaining = remaining;
  bucket.uncertaintyMs = uncertaintyMs;
  boundCost(bucket);
  shareObserved(bucket, totalRemaining, now, lease.grantedAt);

  bucket.heldUntil = undefined;
  bucket.isCanaryDue = false;
  // A higher `remaining` under another limit is a raised quota, or the budget of another route. A
  // canary finds out which, as after a reset.
  if (isOtherLimit) holdOthers(bucket, now);
  // A Retry-After stands until a request that was granted after it is answered.
  const mayLift = !bucket.isRetryAfter || lease.observation >= bucket.blockedObservation;
  if (remaining > 0 && mayLift) bucket.blockedUntil = undefined;
  const hasReset = refillObserved(bucket, lease, resetAt, uncertaintyMs, reportedLimit, spent, now);
  if (hasReset || remaining > 0) bucket.canaryWaitMs = UNKNOWN_RESET_WAIT_MS;
  if (hasReset) bucket.canaryDueAt = planTest(bucket);
  else scheduleCanary(bucket, now);
}

/**
 * Applies a refusal of `lease`. It blocks the bucket until its Retry-After. Without one, it blocks until
 * the next slot returns, if slots may have been missing; else for a guess, which is exponential with
 * full jitter.
 *
 * The requests in flight at the first refusal count as one refusal, however many of them the API
 * refuses. A later answer among them may still add a Retry-After or a time of return.
 */
function refused(
  bucket: Bucket,
  lease: Lease,
  observation: Observation,
  now: number,
  random: () => number,
): void {
  const { blockedUntil, blockedAt } = bucket;
  bucket.costFrom = undefined;
  if (lease.trusted) {
    const widerMs = Math.max(bucket.marginMs * 2, FIRST_MARGIN_MS);
    bucket.marginMs = Math.min(widerMs, observation.uncertaintyMs + MAX_MARGIN_MS);
  }
  if (lease.kind === 'canary') delayForcedCanary(bucket, now);
  const isSameRefusal =
    blockedUntil !== undefined && blockedAt !== undefined && lease.grantedAt <= blockedAt;
  const retryAt = instructedRetryAt(bucket, observation);
  const hasRetryAfter = retryAt !== undefined && retryAt > now;
  // It was in flight before the current Retry-After, and adds nothing.
  if (isSameRefusal && !hasRetryAfter && bucket.isRetryAfter) return;
  bucket.canaryDueAt = undefined;
  bucket.blockedObservation = bucket.observations;
  bucket.isRetryAfter = hasRetryAfter;
  if (!isSameRefusal) bucket.blockedAt = now;
  // Where other requests are in flight, the limit may be on those, and their answers make room soon.
  const isBesideOthers = bucket.inFlight > 0 || limitsInFlight(bucket);
  // If something remains of what the API reports, its reset has nothing to do with such a refusal.
  const isUnreported =
    observation.remaining === undefined && bucket.hasReportedLimit && bucket.remaining > 0;
  const mayBeInFlight = isUnreported && (isBesideOthers || bucket.ceiling < MAX_WINDOW);
  const nextReturnAt = Math.min(nextSlotAt(bucket), fullRefillAt(bucket));
  if (hasRetryAfter) {
    bucket.blockedUntil = retryAt;
    bucket.guesses = 0;
  } else if (nextReturnAt > now && nextReturnAt < Infinity && !mayBeInFlight) {
    bucket.blockedUntil = nextReturnAt;
    bucket.guesses = 0;
  } else if (!isSameRefusal) {
    bucket.blockedUntil = now + nextGuessMs(bucket, isBesideOthers, random);
  }
}

/**
 * Returns until when the answer says to wait, on our clock; `undefined` if it does not. Without a count
 * of what remains, a reset is such an instruction, as a Retry-After is.
 */
function instructedRetryAt(
  { offsetMs }: Bucket,
  { remaining, resetAt, retryAt, basis }: Observation,
): number | undefined {
  if (retryAt !== undefined || remaining !== undefined || resetAt === undefined) return retryAt;
  return basis === 'instant' ? resetAt - offsetMs : resetAt;
}

/** Doubles the time after which a canary is forced, because one was refused. */
function delayForcedCanary(bucket: Bucket, now: number): void {
  const { blockedUntil, isRetryAfter, forcedAfterMs } = bucket;
  const isUnderRetryAfter = isRetryAfter && blockedUntil !== undefined && blockedUntil > now;
  bucket.forcedAfterMs = isUnderRetryAfter
    ? Math.min(Math.max(forcedAfterMs, FORCED_UNDER_RETRY_AFTER_MS) * 2, MAX_FORCED_MS)
    : Math.min(forcedAfterMs * 2, MAX_FORCED_AFTER_MS);
}

/** Returns how long a refusal without a time blocks: with each one in a row, up to twice as long. */
function nextGuessMs(bucket: Bucket, isBesideOthers: boolean, random: () => number): number {
  const firstMs = isBesideOthers ? WAIT_BESIDE_OTHERS_MS : UNKNOWN_RESET_WAIT_MS;
  const maxMs = Math.min(firstMs * 2 ** bucket.guesses, MAX_UNKNOWN_RESET_WAIT_MS);
  bucket.guesses = Math.min(bucket.guesses + 1, MAX_EXPONENT);
  return Math.max(MIN_GUESS_MS, maxMs * random());
}
