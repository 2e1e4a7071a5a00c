import { z } from 'zod';
import type { ConfiguredLimit, GrantKind } from '../../budget/bucket.ts';
import { slotEntries, type Slots } from '../../budget/slots.ts';
import type { StatedShares } from '../../queue/caller-rules.ts';
import type { Ticket } from '../ledger.ts';
import type { KnownBucket, LocalObservation, Waiter } from '../transfer.ts';
import type { Settlement, SharedLease } from './lease.ts';

/**
 * What a replica and the step script send each other: the batch that a step carries, its reply, and
 * what other replicas' steps publish. step.lua has the meaning of each field. Every time on the wire
 * is a duration in milliseconds.
 */
export interface StepBatch {
  readonly bucket: string;
  readonly replica: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly lineage: string;
  readonly revision: number;
  readonly declares: boolean;
  readonly probes?: true;
  readonly free: number;
  readonly maxQueue: number;
  readonly sheds: number;
  readonly spread?: number;
  readonly shares?: Readonly<Record<string, number>>;
  readonly belief?: StepBelief;
  readonly known?: StepKnown;
  readonly held: readonly StepHeld[];
  readonly settled: readonly StepSettled[];
  readonly stock: number;
  readonly wants: number;
  readonly usedBy?: readonly [owner: string, priority: string, weight: number];
  readonly gone: readonly string[];
  readonly tickets: readonly StepTicket[];
  readonly repeats?: true;
}

type StepBelief = readonly [limit: number, periodMs: number, ...isOwn: [] | [true]];

type StepSlots = readonly (readonly [inMs: number, count: number])[];

/** What a replica knows of a bucket by itself, for a state that lost it. */
export interface StepKnown {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetIn?: number;
  /** How long ago the API reported it; absent when it never did. */
  readonly ago?: number;
  readonly uncertainty?: number;
  readonly stamp?: number;
  readonly period?: number;
  readonly callCost?: number;
  readonly blockedFor?: number;
  readonly slots: StepSlots;
  readonly since: StepSlots;
}

/** A lease that the replica has. */
export type StepHeld = readonly [
  id: string,
  kind: GrantKind,
  observation: number,
  trusted: boolean,
  cost: number,
  ageMs: number,
  ...prefetched: [] | [losses: number, returns: number],
];

/** A lease that ended, and how. The last three values are those of a prefetched lease. */
export type StepSettled = readonly [
  id: string,
  kind: GrantKind,
  observation: number,
  trusted: boolean,
  cost: number,
  outcome: Settlement['outcome'],
  ...rest:
    | []
    | [observed: StepObservation]
    | [observed: StepObservation | null, losses: number, returns: number, ageMs: number],
];

/** An answer as a step takes it. Durations count from now, each at its latest. */
export interface StepObservation {
  readonly status: number;
  readonly limit?: number | undefined;
  readonly remaining?: number | undefined;
  /** What the call cost, if the answer reports it. */
  readonly cost?: number | undefined;
  readonly resetIn?: number | undefined;
  readonly retryIn?: number | undefined;
  /** The reset on the API's own clock, which gives the order of overlapping answers. */
  readonly stamp?: number | undefined;
  readonly sameWithin: number;
  readonly uncertainty: number;
  /** From 0 up to but without 1, with a 429: spreads the retries if the API reports no time. */
  readonly random?: number;
}

/** A ticket that joins the shared queue, or that declares itself again. */
export type StepTicket = readonly [
  id: string,
  owner: string,
  caller: string,
  priority: string,
  weight: number,
  ageMs: number,
  waitsMs: number,
  how: 'new' | 'again' | 'kept' | 'kept-again',
  ...cost: [] | [number],
];

/** Lua has one kind of table: an empty list arrives as an empty object. */
function list<T extends z.ZodType>(entry: T) {
  return z.union([z.array(entry), z.strictObject({}).transform((): z.output<T>[] => [])]);
}

const grantedEntry = z.tuple([
  z.string(),
  z.enum(['regular', 'first', 'canary']),
  z.number(),
  z.boolean(),
  z.number(),
  z.enum(['used', 'released']).optional(),
]);
const shedEntry = z.tuple([
  z.string(),
  z.enum(['queue-full', 'wait-too-long', 'cost-too-high']),
  z.number(),
]);

/** How many were added, and the bucket's observations, trust in the clock, losses and returns. */
const stock = z.tuple([z.number(), z.number(), z.boolean(), z.number(), z.number()]);

const numbers = z.object({
  limit: z.number().optional(),
  remaining: z.number().optional(),
  resetIn: z.number().optional(),
  blockedFor: z.number().optional(),
  observedAgo: z.number().optional(),
  uncertainty: z.number(),
  period: z.number().optional(),
  stamp: z.number().optional(),
  leases: z.number(),
  waiting: z.number(),
  kept: z.number().optional(),
  callCost: z.number(),
  etaIn: z.number().optional(),
});

const reply = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('ok'),
    lineage: z.string(),
    revision: z.number(),
    granted: list(grantedEntry),
    shed: list(shedEntry),
    declare: z.boolean().optional(),
    wakeIn: z.number().optional(),
    free: z.number(),
    recall: z.boolean().optional(),
    stock: stock.optional(),
    numbers,
  }),
  z.object({ status: z.literal('stale') }),
  z.object({ status: z.literal('declare') }),
  z.object({ status: z.literal('layout'), found: z.number() }),
]);

const message = z.object({
  bucket: z.string(),
  epoch: z.number(),
  free: z.number(),
  granted: list(grantedEntry),
  shed: list(shedEntry),
  recall: z.boolean().optional(),
});

/** What a step returns: the first status has changed the state, the others have not. */
export type StepReply = z.output<typeof reply>;
export type StepDone = Extract<StepReply, { status: 'ok' }>;
export type StepNumbers = z.output<typeof numbers>;
export type StepGranted = z.output<typeof grantedEntry>;
export type StepShed = z.output<typeof shedEntry>;
export type StepPrefetch = z.output<typeof stock>;
export type StepMessage = z.output<typeof message>;

/** Reads what a step returned; throws when it is not a step's reply. */
export function readReply(text: unknown): StepReply {
  if (typeof text !== 'string') throw new TypeError(`expected a step's reply, got ${typeof text}`);
  return reply.parse(JSON.parse(text));
}

/** Reads what another replica's step published; `undefined` when it is no such message. */
export function readMessage(text: string): StepMessage | undefined {
  try {
    return message.parse(JSON.parse(text));
  } catch {
    // Any client may publish to a channel. The heartbeat returns a grant that is lost here.
    return undefined;
  }
}

/** The lease of a step's grant. */
export function toLease(entry: StepGranted, grantedAt: number): SharedLease {
  const [id, kind, observation, trusted, cost] = entry;
  return {
    id,
    kind,
    cost,
    observation,
    trusted,
    grantedAt,
    prefetched: undefined,
  };
}

/** A lease as a step reports it. */
export function toHeld(lease: SharedLease, now: number): StepHeld {
  const { id, kind, observation, trusted, cost, prefetched, grantedAt } = lease;
  const age = now - grantedAt;
  if (prefetched === undefined) return [id, kind, observation, trusted, cost, age];
  return [id, kind, observation, trusted, cost, age, prefetched.losses, prefetched.returns];
}

/** `maxDelayMs` is how long the step may take to reach the server before it is given up. */
export function toSettled(
  { lease, outcome, observed, random }: Settlement,
  now: number,
  maxDelayMs: number,
): StepSettled {
  const { id, kind, observation, trusted, cost, prefetched, grantedAt } = lease;
  const answer = observed === undefined ? null : toObservation(observed, random, now, maxDelayMs);
  if (prefetched !== undefined) {
    const { losses, returns } = prefetched;
    const age = now - grantedAt;
    return [id, kind, observation, trusted, cost, outcome, answer, losses, returns, age];
  }
  if (answer === null) return [id, kind, observation, trusted, cost, outcome];
  return [id, kind, observation, trusted, cost, outcome, answer];
}

function toObservation(
  observed: LocalObservation,
  random: number,
  now: number,
  maxDelayMs: number,
): StepObservation {
  const { status, limit, remaining, cost, resetAt, retryAt, stamp, sameWithinMs } = observed;
  return {
    status,
    limit,
    remaining,
    cost,
    resetIn: resetAt === undefined ? undefined : resetAt - now,
    retryIn: retryAt === undefined ? undefined : retryAt - now,
    stamp,
    // The later a step arrives, the later its resets seem to the server, up to this much; if the
    // API reports a moment, the moments are compared.
    sameWithin: sameWithinMs + (stamp === undefined ? maxDelayMs : 0),
    uncertainty: observed.uncertaintyMs,
    ...(status === 429 ? { random } : {}),
  };
}

/** `hasWaited`: the shared queue held the ticket before. `latest`: when an attempt may last start. */
export function toTicket(
  id: string,
  { ticket, isRetry }: Waiter,
  hasWaited: boolean,
  latest: number,
  now: number,
): StepTicket {
  const { owner, caller, priority, weight, cost, arrivedAt } = ticket;
  const how = hasWaited ? (isRetry ? 'kept-again' : 'kept') : isRetry ? 'again' : 'new';
  const [age, waits] = [now - arrivedAt, latest - now];
  const costs: [] | [number] = cost === undefined ? [] : [cost];
  return [id, name(owner), name(caller), priority, weight, age, waits, how, ...costs];
}

/** Who made a call that used a prefetched lease. */
export function toUsedBy({ owner, priority, weight }: Ticket): NonNullable<StepBatch['usedBy']> {
  return [name(owner), priority, weight];
}

/** Which parts of the limit are kept for single callers. */
export function toShares({ parts }: StatedShares): Readonly<Record<string, number>> {
  return Object.fromEntries([...parts].map(([caller, part]) => [name(caller), part]));
}

/** Control characters separate names in the queue's keys, and the script reads only valid UTF-8. */
function name(text: string): string {
  const whole = text.toWellFormed();
  return CONTROL.test(whole) ? whole.replaceAll(CONTROLS, '?') : whole;
}

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x1f]/;
const CONTROLS = new RegExp(CONTROL, 'g');

/** A configured limit as a step states it. */
export function toBelief({ limit, periodMs, isOwn }: ConfiguredLimit): StepBelief {
  return isOwn === true ? [limit, periodMs, true] : [limit, periodMs];
}

/** What this replica knows of a bucket, as a step declares it. */
export function toKnown(known: KnownBucket, now: number): StepKnown {
  const { lastReport, blockedUntil, own, since } = known;
  const blockedFor = blockedUntil === undefined ? 0 : blockedUntil - now;
  return {
    slots: toSlots(own, now),
    since: toSlots(since, now),
    ...(blockedFor > 0 ? { blockedFor } : {}),
    ...(lastReport === undefined
      ? {}
      : {
          limit: lastReport.limit,
          remaining: Math.max(0, lastReport.remaining),
          ago: now - lastReport.at,
          uncertainty: lastReport.uncertaintyMs,
          ...(lastReport.resetAt === undefined ? {} : { resetIn: lastReport.resetAt - now }),
          ...(lastReport.stamp === undefined ? {} : { stamp: lastReport.stamp }),
          ...(lastReport.periodMs === undefined ? {} : { period: lastReport.periodMs }),
          ...(lastReport.callCost === undefined ? {} : { callCost: lastReport.callCost }),
        }),
  };
}

function toSlots(slots: Slots, now: number): [number, number][] {
  return slotEntries(slots)
    .filter(([at]) => at > now)
    .map(([at, count]) => [at - now, count]);
}

/** Keeps a step's numbers, from which the bucket is rebuilt if the shared state is lost. */
export function remember(known: KnownBucket, numbers: StepNumbers, now: number): void {
  const { limit, remaining, resetIn, blockedFor, observedAgo, uncertainty } = numbers;
  known.blockedUntil = blockedFor === undefined ? undefined : now + blockedFor;
  if (limit === undefined || remaining === undefined || observedAgo === undefined) return;
  known.lastReport = {
    limit,
    remaining,
    resetAt: resetIn === undefined ? undefined : now + resetIn,
    at: now - observedAgo,
    uncertaintyMs: uncertainty,
    periodMs: numbers.period,
    stamp: numbers.stamp,
    callCost: numbers.callCost,
  };
}
