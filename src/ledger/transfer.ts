import type { GrantKind } from '../budget/bucket.ts';
import type { LastReport } from '../budget/known-budget.ts';
import type { Observation, OffsetBounds } from '../budget/observation.ts';
import { addSlots, makeSlots, takeSlotsUntil } from '../budget/slots.ts';
import type {
  BucketName,
  CallerSignal,
  Cancelled,
  Grant,
  Granted,
  Shed,
  Ticket,
  WaitDecision,
} from './ledger.ts';

/** A ledger that can pass on what it holds, so that another one continues with it. */
export interface Transferable {
  /**
   * Passes on everything, or all of one bucket, and holds nothing of it afterwards. No ticket gets an
   * outcome by that.
   */
  handOver(bucketId?: string): Transfer;
  /** Continues with it. The `paused` buckets, by id, are paused before anything is granted. */
  takeOver(transfer: Transfer, paused: ReadonlySet<string>): void;
}

/** Everything that a ledger holds for this replica, or for one bucket of it. */
export interface Transfer {
  /** The oldest first. */
  readonly waiting: readonly Waiter[];
  readonly held: readonly TransferredGrant[];
  readonly known: readonly KnownBucket[];
}

/** A ticket that waits, with what its wait depends on, wherever it waits. */
export interface Waiter {
  readonly ticket: Ticket;
  readonly signal: CallerSignal;
  /** Ends the wait; called once. */
  readonly resolve: (outcome: Granted | Shed | Cancelled) => void;
  /** Whether the ticket had a grant before: its next one costs its flow nothing. */
  readonly isRetry: boolean;
  /** On `Clock.now`: the ticket must not be granted before. */
  readonly notBefore: number;
  /** The shared ledger's number of the ticket, if it has one. */
  readonly number?: number | undefined;
  /** Receives the report that it has to wait. */
  readonly decision?: WaitDecision | undefined;
}

/** A grant that has no answer yet, with what another ledger needs to keep it. */
export interface TransferredGrant {
  readonly grant: Grant;
  readonly kind: GrantKind;
  /** How many operations it spends. */
  readonly cost: number;
}

/**
 * What one replica knows of a bucket by itself. It outlives an outage, a flush or a failover of
 * Redis, so the bucket is rebuilt from it. Every time is on `Clock.now`.
 */
export class KnownBucket {
  name: BucketName;
  /** The owner of the ticket that created the bucket. */
  readonly owner: string;
  /** The API's last report that this replica received; `undefined` when there was none. */
  lastReport: TimedReport | undefined;
  /** Until when the API asked for no more requests. */
  blockedUntil: number | undefined;
  /** The shared state that this replica saw last, and its revision. */
  lineage = '';
  revision = 0;
  /** Slots that this replica spent, by when they refill. */
  readonly own = makeSlots();
  /** Those of {@link own} that the lineage does not know of. */
  readonly since = makeSlots();

  constructor(name: BucketName, owner: string) {
    this.name = name;
    this.owner = owner;
  }

  /**
   * Learns from an answer to one of this replica's calls, which cost `cost` operations. `isShared`: a
   * step will report it.
   */
  learn(observation: LocalObservation, cost: number, now: number, isShared: boolean): void {
    const { status, resetAt } = observation;
    const refills = status !== 429 && resetAt !== undefined && resetAt > now;
    if (refills) {
      const spanMs = Math.max(this.lastReport?.periodMs ?? 0, resetAt - now);
      for (const slots of isShared ? [this.own] : [this.own, this.since]) {
        takeSlotsUntil(slots, now);
        addSlots(slots, resetAt, observation.cost ?? cost, spanMs);
      }
    }
    // If a step reports it, the step's numbers say what the shared state made of it.
    if (!isShared) this.#observe(observation, now);
  }

  #observe(observation: LocalObservation, now: number): void {
    const { limit, remaining, resetAt, retryAt, status, uncertaintyMs, stamp } = observation;
    if (status === 429 && retryAt !== undefined && retryAt > now) this.blockedUntil = retryAt;
    if (remaining === undefined) return;
    const { limit: lastLimit = 1, periodMs } = this.lastReport ?? {};
    const isAhead = resetAt !== undefined && resetAt > now;
    this.lastReport = {
      limit: Math.max(limit ?? lastLimit, remaining, 1),
      remaining,
      resetAt: isAhead ? resetAt : undefined,
      at: now,
      uncertaintyMs,
      periodMs: isAhead ? Math.max(periodMs ?? 0, resetAt - now) : periodMs,
      stamp,
      callCost: this.lastReport?.callCost,
    };
  }
}

/** The API's last report of a bucket, and when it arrived. Times are on `Clock.now`. */
export interface TimedReport extends LastReport {
  readonly at: number;
}

/** An observation whose times are all on this process's clock, which another process cannot use. */
export interface LocalObservation {
  readonly status: number;
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  /** What the call cost, if the answer reports it. */
  readonly cost: number | undefined;
  readonly resetAt: number | undefined;
  /** The reset on the API's own clock, which gives the order of overlapping answers. */
  readonly stamp: number | undefined;
  readonly retryAt: number | undefined;
  readonly sameWithinMs: number;
  readonly uncertaintyMs: number;
}

/** Converts an observation's reset to this process's clock, by what is known of the API's by now. */
export function toLocalObservation(
  observation: Observation,
  offset: OffsetBounds,
): LocalObservation {
  const { basis, resetAt } = observation;
  const isLocal = basis === 'delay' || resetAt === undefined;
  return {
    status: observation.status,
    limit: observation.limit,
    remaining: observation.remaining,
    cost: observation.cost,
    resetAt: isLocal ? resetAt : resetAt - offset.low,
    stamp: isLocal ? undefined : resetAt,
    retryAt: observation.retryAt,
    sameWithinMs: observation.sameWithinMs,
    uncertaintyMs: observation.uncertaintyMs,
  };
}
