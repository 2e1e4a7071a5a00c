import type { Bucket, ConfiguredLimit } from './bucket.ts';
import { boundCost } from './costs.ts';
import { observationsToRemember, periodMs } from './refill.ts';
import {
  makeShare,
  maxSlots,
  shareObserved,
  shareOfLimit,
  shareOfRemaining,
  startSpending,
} from './share.ts';
import { addSlots, keepLastSlots } from './slots.ts';
import { holdOthers, scheduleCanary } from './trials.ts';
import { addToMax } from './windowed-max.ts';

/* What a bucket knows without an answer: the configured limit, and what another ledger knew. */

/**
 * Applies a limit from the configuration, at first or after a reload. A limit that the API reported
 * takes precedence: then this does nothing.
 */
export function setConfiguredLimit(
  bucket: Bucket,
  { limit, periodMs, isOwn }: ConfiguredLimit,
): void {
  if (bucket.hasReportedLimit) return;
  if (isOwn === true) {
    bucket.isOwnLimit = true;
    // Its times are ours, and do not move with what is known of the API's clock.
    bucket.basis = 'delay';
  }
  // What is spent stays spent under the new limit.
  const spent = bucket.phase === 'metered' ? bucket.limit - bucket.remaining : 0;
  bucket.phase = 'metered';
  bucket.limit = shareOfLimit(bucket, limit);
  bucket.isLimitStated = true;
  bucket.remaining = Math.max(0, bucket.limit - spent);
  bucket.configuredPeriodMs = periodMs;
  boundCost(bucket);
  keepLastSlots(bucket.slots, maxSlots(bucket));
}

/** What another ledger, or another state of this one, knew of a budget. All times are on our clock. */
export interface KnownBudget {
  /** What the API reported last; `undefined` when it reported nothing. */
  readonly reported: LastReport | undefined;
  /** When the API's Retry-After ends. */
  readonly blockedUntil: number | undefined;
  /** This replica's slots: when they return, and how many at that time. */
  readonly slots: readonly (readonly [at: number, count: number])[];
}

/** What the API reported last of a bucket. */
export interface LastReport {
  readonly limit: number;
  readonly remaining: number;
  /** When it was reported; the start of the share unless given. */
  readonly at?: number;
  readonly resetAt?: number | undefined;
  readonly uncertaintyMs: number;
  readonly periodMs?: number | undefined;
  readonly stamp?: number | undefined;
  /** How many operations a call costs that does not state it. */
  readonly callCost?: number | undefined;
}

/**
 * Continues a budget that another ledger kept, with one of `replicas` equal shares of it. What the
 * API reports from now on is divided as well. `known.slots` are this replica's own slots, and are
 * not divided.
 */
export function startShare(
  bucket: Bucket,
  { reported, blockedUntil, slots }: KnownBudget,
  replicas: number,
  now: number,
): void {
  bucket.share = replicas > 1 ? makeShare(replicas, now) : undefined;
  if (blockedUntil !== undefined && blockedUntil > now) {
    bucket.blockedUntil = blockedUntil;
    bucket.isRetryAfter = true;
  }
  if (reported === undefined) {
    if (bucket.phase !== 'metered') return;
    bucket.limit = shareOfLimit(bucket, bucket.limit);
    bucket.remaining = Math.min(bucket.remaining, bucket.limit);
    if (bucket.isOwnLimit) countOwnSlots(bucket, slots, now);
    return;
  }
  const { limit, remaining, resetAt } = reported;
  bucket.phase = 'metered';
  bucket.hasReportedLimit = true;
  bucket.limit = shareOfLimit(bucket, limit);
  bucket.remaining = shareOfRemaining(bucket, remaining);
  shareObserved(bucket, remaining, reported.at ?? now, -Infinity);
  bucket.uncertaintyMs = reported.uncertaintyMs;
  bucket.callCost = reported.callCost ?? 1;
  bucket.basis = 'delay';
  bucket.resetAt = resetAt;
  rememberPeriod(bucket, reported);
  addKnownSlots(bucket, slots, now);
  keepLastSlots(bucket.slots, limit - remaining);
  startSpending(bucket, now);
  if (resetAt === undefined || resetAt <= now) scheduleCanary(bucket, now);
}

/**
 * Adds what a replica knows of the budget by itself to a state that lacks it. `known.slots` are those
 * of its slots that the state lacks. A canary then tests what that makes available.
 */
export function restore(
  bucket: Bucket,
  { reported, blockedUntil, slots }: KnownBudget,
  now: number,
): void {
  addKnownSlots(bucket, slots, now);
  const at = reported?.at;
  const isNewer = at !== undefined && at > (bucket.observedAt ?? -Infinity);
  if (reported !== undefined && isNewer) {
    const { limit, remaining, resetAt } = reported;
    bucket.phase = 'metered';
    bucket.hasReportedLimit = true;
    bucket.limit = limit;
    bucket.remaining = remaining;
    bucket.observations++;
    bucket.observedAt = at;
    bucket.uncertaintyMs = reported.uncertaintyMs;
    holdOthers(bucket, now);
    bucket.resetAt = resetAt !== undefined && resetAt > now ? resetAt : undefined;
    bucket.reportedRemaining = remaining;
    bucket.reportedResetAt = bucket.resetAt;
    bucket.stamp = reported.stamp;
    bucket.callCost = reported.callCost ?? 1;
    bucket.sameWithinMs = 0;
    rememberPeriod(bucket, reported);
    if (bucket.resetAt === undefined) scheduleCanary(bucket, now);
  }
  if (blockedUntil !== undefined) {
    bucket.blockedUntil = blockedUntil;
    bucket.isRetryAfter = true;
    bucket.blockedObservation = bucket.observations;
  }
  // What is spent of this gateway's own limit is known by its slots alone.
  if (bucket.isOwnLimit) bucket.remaining = Math.max(0, bucket.limit - bucket.slots.size);
  if (bucket.phase === 'metered') keepLastSlots(bucket.slots, bucket.limit - bucket.remaining);
}

/** Adds slots that are still ahead. */
function addKnownSlots(bucket: Bucket, slots: KnownBudget['slots'], now: number): void {
  // The period may not be known yet. Too small a span would let early slots return with later ones.
  let spanMs = periodMs(bucket) ?? 0;
  for (const [at] of slots) spanMs = Math.max(spanMs, at - now);
  for (const [at, count] of slots) if (at > now) addSlots(bucket.slots, at, count, spanMs);
}

/**
 * Counts what this replica spent of a limit of this gateway. What other replicas spend is not known, so
 * nothing is borrowed from them.
 */
function countOwnSlots(bucket: Bucket, slots: KnownBudget['slots'], now: number): void {
  addKnownSlots(bucket, slots, now);
  bucket.remaining = Math.max(0, bucket.limit - bucket.slots.size);
  if (bucket.share !== undefined) bucket.share.totalRemaining = -bucket.slots.size;
}

function rememberPeriod(bucket: Bucket, { periodMs, limit }: LastReport): void {
  if (periodMs === undefined) return;
  addToMax(bucket.observedPeriodMs, periodMs, observationsToRemember(limit));
}
