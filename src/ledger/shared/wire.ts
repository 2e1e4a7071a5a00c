import { z } from 'zod';
import type { GrantKind } from '../../budget/bucket.ts';

/** What a replica hands in with one step; step.lua says what each part means. */
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
  readonly belief?: readonly [limit: number, periodMs: number];
  readonly known?: StepKnown;
  readonly held: readonly StepHeld[];
  readonly settled: readonly StepSettled[];
  readonly stock: number;
  readonly wants: number;
  readonly gone: readonly string[];
  readonly tickets: readonly StepTicket[];
}

type SlotsIn = readonly (readonly [inMs: number, count: number])[];

/** What a replica knows of a bucket by itself, for a state that lost it. */
export interface StepKnown {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetIn?: number;
  /** How long ago the API said so; absent when it never did. */
  readonly ago?: number;
  readonly uncertainty?: number;
  readonly stamp?: number;
  readonly period?: number;
  readonly blockedFor?: number;
  readonly slots: SlotsIn;
  readonly since: SlotsIn;
}

export type StepHeld = readonly [
  id: string,
  kind: GrantKind,
  observation: number,
  trusted: boolean,
  ageMs: number,
  ...fromStock: [] | [losses: number, returns: number],
];

export type StepSettled = readonly [
  id: string,
  kind: GrantKind,
  observation: number,
  trusted: boolean,
  outcome: 'answered' | 'unsent' | 'lost',
  ...rest: [] | [said: StepObservation] | [said: StepObservation | null, ...FromStock],
];

/** How it stood when the stock was given that the lease came from, and how long ago it came. */
type FromStock = [losses: number, returns: number, ageMs: number];

/** An answer as a step takes it: durations from now, each at its latest. */
export interface StepObservation {
  readonly status: number;
  readonly limit?: number | undefined;
  readonly remaining?: number | undefined;
  readonly resetIn?: number | undefined;
  readonly retryIn?: number | undefined;
  /** The API's own moment of the reset, which tells the order of overlapping answers. */
  readonly stamp?: number | undefined;
  readonly sameWithin: number;
  readonly uncertainty: number;
  /** From 0 up to but without 1, with a 429: spreads the retries of an API that says no time. */
  readonly random?: number;
}

export type StepTicket = readonly [
  id: string,
  owner: string,
  caller: string,
  priority: string,
  weight: number,
  ageMs: number,
  waitsMs: number,
  how: 'new' | 'again' | 'kept' | 'kept-again',
];

/** Lua has one kind of table: an empty list comes as an empty object. */
function list<T extends z.ZodType>(entry: T) {
  return z.union([z.array(entry), z.strictObject({}).transform((): z.output<T>[] => [])]);
}

const grantedEntry = z.tuple([
  z.string(),
  z.enum(['slot', 'probe', 'canary']),
  z.number(),
  z.boolean(),
]);
const shedEntry = z.tuple([z.string(), z.enum(['queue-full', 'wait-too-long']), z.number()]);

/** How much was added, and how things stand: observations, trust in the clock, losses, returns. */
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

export type StepReply = z.output<typeof reply>;
export type StepDone = Extract<StepReply, { status: 'ok' }>;
export type StepNumbers = z.output<typeof numbers>;
export type StepGranted = z.output<typeof grantedEntry>;
export type StepShed = z.output<typeof shedEntry>;
export type StepStock = z.output<typeof stock>;
export type StepMessage = z.output<typeof message>;

/** Reads what a step returned; throws when it is not a step's reply. */
export function readReply(text: unknown): StepReply {
  if (typeof text !== 'string') throw new TypeError(`expected a step's reply, got ${typeof text}`);
  return reply.parse(JSON.parse(text));
}

/** Reads what another replica's step published; `undefined` when it is not ours to understand. */
export function readMessage(text: string): StepMessage | undefined {
  try {
    return message.parse(JSON.parse(text));
  } catch {
    // Anybody may publish to a channel. A grant that is lost here is repeated by the heartbeat.
    return undefined;
  }
}
