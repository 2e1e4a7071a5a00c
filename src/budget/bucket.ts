import type { Basis } from './observation.ts';
import { makeSlots, type Slots } from './slots.ts';
import { makeWindowedMax, type WindowedMax } from './windowed-max.ts';

/** A limit that the configuration states, for an API that reports none. */
export interface ConfiguredLimit {
  readonly limit: number;
  readonly periodMs: number;
  /** It is a limit of this gateway, and the API knows nothing of it. */
  readonly isOwn?: true | undefined;
}

/** Why a grant was given: regularly, as the first request of an unopened bucket, or as a canary. */
export type GrantKind = 'regular' | 'first' | 'canary';

/** A lease without an answer counts as spent after this time. Its request continues. */
export const LEASE_MS = 10_000;

/** A granted request that has no answer yet, and the state of its bucket when it was granted. */
export interface Lease {
  readonly kind: GrantKind;
  readonly grantedAt: number;
  /** How many operations it spends; the answer may correct it. */
  cost: number;
  /** How many observations there were. An answer to the lease is newer than all of them. */
  readonly observation: number;
  /** How many operations had been lost. The answer may not count those that are lost later. */
  readonly losses: number;
  /** How many slots had returned. The answer may not count those that return later. */
  readonly returns: number;
  /**
   * Whether the grant relied on a slot that returned by our reading of the API's clock. A 429 to it
   * shows that the reading was early.
   */
  readonly trusted: boolean;
  /** How many of its operations are counted as lost: 0, or its cost. */
  loss: number;
  /** Whether a slot was recorded for the lease although it has no answer. */
  recorded: boolean;
}

/**
 * Models one budget at the API: the record that decides when a request may be sent.
 *
 * Each spent operation is a slot. The API returns a slot at the reset that the operation's own
 * answer reported. This one rule fits fixed windows, aligned windows, sliding logs and leaky
 * buckets.
 *
 *                     a 2xx without rate headers
 *     ┌──────────┐                              ┌───────────┐
 *     │ unopened │ ───────────────────────────▶ │ unmetered │
 *     └──────────┘                              └───────────┘
 *     one first request                         slow start: 1, 2, 4 … requests
 *     at a time                                 in flight
 *           │                                         │
 *           │ an answer reports `remaining`,          │
 *           ▼ or a 429 reports a reset                ▼
 *     ┌─────────────────────────────────────────────────────┐
 *     │ metered: available = remaining − operations leased  │
 *     └─────────────────────────────────────────────────────┘
 *
 * A bucket with a configured limit starts metered.
 *
 * A metered bucket grants a request while `available` is at least its cost, except in these states:
 *
 * - blocked: after a 429 nothing is granted until its Retry-After, until the next slot returns, or
 *   for a guessed time.
 * - held: `remaining` is assumed and not reported, for example after a reset. One canary is
 *   granted, and all other requests wait for its answer.
 * - exhausted: nothing is available, and no time is known at which a slot returns. A canary is
 *   granted after a delay.
 * - in doubt: nothing is available, but slots have returned that the newest observation may not
 *   count. A canary is granted to find out.
 *
 * Any other grant tests the budget as well as a canary does, so each grant clears a due canary.
 *
 * While replicas cannot coordinate, each one holds a share of the budget. `limit` and `remaining`
 * are then those of the share.
 *
 * Times end in `At` or `Until` and are in milliseconds on the ledger's clock, unless stated
 * otherwise; a time that is not known is undefined. The record has only plain data: the ledger in
 * this process keeps it in memory, and the one in Redis packs it in the order of its fields.
 *
 * Only the functions of this folder change it, which are also generated into Lua (`npm run lua`). But
 * a ledger sets `offsetMs`, `spread` and `stated`, and `canaryAt` for a lease that another ledger
 * granted; and the step in Redis counts prefetched leases in `inFlight`.
 */
export interface Bucket {
  // The limit, and what remains of it.

  phase: 'unopened' | 'unmetered' | 'metered';
  /** Whether the API reported a limit, to this bucket or to the ledger that it continues. */
  hasReportedLimit: boolean;
  limit: number;
  /** Whether the limit was stated, and not only concluded from what remained. */
  isLimitStated: boolean;
  /** Whether the limit is this gateway's own: what remains of it is known, and no canary tests it. */
  isOwnLimit: boolean;
  remaining: number;
  /** Present while several replicas spend the budget and cannot coordinate. */
  share: Share | undefined;
  /** Which part of the limit may be kept for owners that do not wait (reserve.ts); 0 for none. */
  spread: number;
  /** What is stated for callers (stated-shares.ts); undefined for nothing. It is not stored. */
  stated: Stated | undefined;

  // What happened so far: an answer to a lease counts what happened before its grant (leases.ts).

  /** How many leases are in flight. The ledger keeps the leases themselves. */
  inFlight: number;
  /** How many operations these leases spend beyond one each. */
  extraInFlight: number;
  /** How many operations were lost: spent without an observation. */
  losses: number;
  /** How many slots have returned. */
  returns: number;

  // The newest observation (answers.ts).

  /** How many observations were the newest until now. Each lease records it when granted. */
  observations: number;
  /** When the newest one arrived. */
  observedAt: number | undefined;
  /** The newest observation as the API reported it; the reset is on the clock of `basis`. */
  reportedRemaining: number;
  reportedResetAt: number | undefined;
  stamp: number | undefined;
  sameWithinMs: number;
  /** How much earlier than reported its reset may be. */
  uncertaintyMs: number;
  /** Whether the API reports `remaining` before it counts the call that it answers. */
  countsBefore: boolean;

  // When spent operations return (refill.ts, slots.ts, rounded-reset.ts).

  /** How the API reports resets, and its clock minus ours: at least this many milliseconds. */
  basis: Basis;
  offsetMs: number;
  /** Spent slots, and the newest observation's reset until it passes, on the clock of `basis`. */
  slots: Slots;
  resetAt: number | undefined;
  observedPeriodMs: WindowedMax;
  /** The period of the configured limit, used until a period is observed. */
  configuredPeriodMs: number | undefined;
  /** Slots that return until then are assumed to be in the newest observation's `remaining`. */
  countedUntil: number | undefined;
  lastReturnAt: number | undefined;
  /** The safety margin that delays all returns. */
  marginMs: number;
  /** By how much reports of the same reset differed recently, which delays all returns as well. */
  noiseMs: WindowedMax;
  last: LastAnswer;
  rounded: RoundedReset;

  // What the newest observation may not count (refill.ts).

  /** Slots in doubt: it is unknown whether the newest observation counts their return. */
  doubtful: number;
  /** They return between these times. */
  doubtFrom: number | undefined;
  doubtUntil: number | undefined;
  /** Operations that the newest observation counts as spent, and of which we have no slot. */
  unmatched: number;
  /** The recent maximum of what other consumers certainly had spent. */
  othersSpent: WindowedMax;

  // What a call costs (costs.ts).

  /** How many operations a request costs that does not state it, as far as answers showed it. */
  callCost: number;
  /**
   * What the newest observation reported when no request was in flight last, from which the cost of
   * the calls since then follows; undefined when something else changed it meanwhile.
   */
  costFrom: number | undefined;
  /** How many slots had returned then, and how many operations were lost. */
  costReturns: number;
  costLosses: number;
  /** How many calls that state no cost were answered since then. */
  costCalls: number;
  /** How much `remaining` fell by the last single call. */
  lastFall: number | undefined;

  // The block after a refusal (answers.ts).

  /** When the back-off after a refusal ends; undefined when there is none. */
  blockedUntil: number | undefined;
  /** Whether that is the API's Retry-After. */
  isRetryAfter: boolean;
  /**
   * When the last refusal arrived, or the first of several that count as one; and how many observations
   * there were. Both stay when the back-off has ended.
   */
  blockedAt: number | undefined;
  blockedObservation: number;
  /** How many back-offs in a row were guessed. */
  guesses: number;

  // Canaries (trials.ts).

  lastGrantAt: number;
  /** When the canary in flight was granted. */
  canaryAt: number | undefined;
  /** Until when all requests but the canary wait, as what is available is an assumption. */
  heldUntil: number | undefined;
  /** Whether a canary is due although nothing is available. */
  isCanaryDue: boolean;
  /** When the scheduled canary becomes due, and the delay of the next one. */
  canaryDueAt: number | undefined;
  canaryWaitMs: number;
  /** How long after the last grant a canary is granted in any state. */
  forcedAfterMs: number;

  // First requests, and limits that the API does not report (grants.ts, unknown-limit.ts).

  /** When a further first request may be granted, and the delay of the one after it. */
  nextFirstAt: number;
  firstWaitMs: number;
  /** How many requests the API took since the last refusal that reported no budget. */
  taken: number;
  /** How many it took before that refusal; 0 when there was none, or when it is forgotten. */
  expected: number;
  /** How many requests may be in flight beyond what is expected: the window of slow start. */
  window: number;
  /** The most requests in flight that the API seems to accept; not a whole number. */
  ceiling: number;
}

/**
 * One replica's share of a budget, while several replicas spend it and cannot coordinate.
 *
 * The share is an equal part of the limit, and at most the same part of what the API reports as
 * remaining. A replica that used up its share may borrow what the others leave unused:
 *
 * - It borrows one operation at a time, at the pace at which the whole budget refills, and only while
 *   at least one remains for every replica.
 * - It waits first, whenever all replicas may start to spend at the same time, so that the others
 *   can spend their own shares.
 * - What remains below that is for replicas that did not use up their shares. Each reclaims one
 *   operation at a time, at the pace of its own share. Replicas that borrowed then see less than one
 *   operation for each replica, and stop until more returns.
 */
export interface Share {
  /** At least two. */
  readonly replicas: number;
  /** When this replica may next borrow. */
  borrowAt: number;
  /** When this replica may next reclaim an operation of its own share that others borrowed. */
  reclaimAt: number;
  /** Until when one operation of the share is set aside; undefined when none is. */
  setAsideUntil: number | undefined;
  observedAt: number | undefined;
  /**
   * What remains of the whole budget, as far as this replica knows: what the API reported, plus own
   * slots that returned since, minus own operations that were lost since.
   */
  totalRemaining: number;
  /** The answer to a request that was granted from then on shows what the other replicas leave. */
  measuresFrom: number;
  /** Whether such an answer has arrived. */
  isMeasured: boolean;
}

/** The shares of callers that the settings state, as the ledger knows them now. */
export interface Stated {
  /** Which part of the limit they are together. */
  part: number;
  /** How many operations these callers have not used of their shares. */
  owed: number;
}

/** The last answer that reported a budget, whether it was the newest observation or not. */
export interface LastAnswer {
  resetAt: number | undefined;
  /** What remained after it. */
  left: number;
  /** How many slots had returned when its request was granted. */
  returns: number;
}

/** What a bucket learned of resets that the API reports in whole seconds. */
export interface RoundedReset {
  /** When the next test is due; undefined when none is. */
  testAt: number | undefined;
  /** When the answer arrived whose request opened the window; undefined when it is not known. */
  openedAt: number | undefined;
  /** How long after its opening a window was still closed, at most. */
  closedMs: number;
  /** How long after its opening a window was open again, at least. */
  openMs: number;
  /** Whether a window did not end at a multiple of ten seconds. */
  isUneven: boolean;
  /** Grows with each refused test, and shrinks with each one that was granted. */
  failures: number;
}

/** How long to wait where no time of return is known: at first, and at most after doubling. */
export const UNKNOWN_RESET_WAIT_MS = 1000;
export const MAX_UNKNOWN_RESET_WAIT_MS = 60_000;
/** How long to wait for a further first request, at first. */
export const FIRST_REQUEST_WAIT_MS = 1000;
/** The most requests in flight to an API whose limits are unknown. */
export const MAX_WINDOW = 1024;
/** After this long without any grant, a canary is granted in any state. */
export const FORCED_AFTER_MS = 60_000;

export function makeRoundedReset(): RoundedReset {
  return {
    testAt: undefined,
    openedAt: undefined,
    closedMs: 0,
    openMs: Infinity,
    isUneven: false,
    failures: 0,
  };
}

export function makeBucket(now: number): Bucket {
  return {
    phase: 'unopened',
    hasReportedLimit: false,
    limit: 0,
    isLimitStated: false,
    isOwnLimit: false,
    remaining: 0,
    share: undefined,
    spread: 0,
    stated: undefined,
    inFlight: 0,
    extraInFlight: 0,
    losses: 0,
    returns: 0,
    observations: 0,
    observedAt: undefined,
    reportedRemaining: 0,
    reportedResetAt: undefined,
    stamp: undefined,
    sameWithinMs: 0,
    uncertaintyMs: 0,
    countsBefore: false,
    basis: 'instant',
    offsetMs: 0,
    slots: makeSlots(),
    resetAt: undefined,
    observedPeriodMs: makeWindowedMax(),
    configuredPeriodMs: undefined,
    countedUntil: undefined,
    lastReturnAt: undefined,
    marginMs: 0,
    noiseMs: makeWindowedMax(),
    last: { resetAt: undefined, left: 0, returns: 0 },
    rounded: makeRoundedReset(),
    doubtful: 0,
    doubtFrom: undefined,
    doubtUntil: undefined,
    unmatched: 0,
    othersSpent: makeWindowedMax(),
    callCost: 1,
    costFrom: undefined,
    costReturns: 0,
    costLosses: 0,
    costCalls: 0,
    lastFall: undefined,
    blockedUntil: undefined,
    isRetryAfter: false,
    blockedAt: undefined,
    blockedObservation: 0,
    guesses: 0,
    lastGrantAt: now,
    canaryAt: undefined,
    heldUntil: undefined,
    isCanaryDue: false,
    canaryDueAt: undefined,
    canaryWaitMs: UNKNOWN_RESET_WAIT_MS,
    forcedAfterMs: FORCED_AFTER_MS,
    nextFirstAt: 0,
    firstWaitMs: FIRST_REQUEST_WAIT_MS,
    taken: 0,
    expected: 0,
    window: 1,
    ceiling: MAX_WINDOW,
  };
}

/** Returns how many operations the leases in flight spend. */
export function operationsInFlight({ inFlight, extraInFlight }: Bucket): number {
  return inFlight + extraInFlight;
}
