import type { ConfiguredLimit } from '../budget/bucket.ts';
import type { StatedShares } from '../queue/caller-rules.ts';
import type { Priority } from '../queue/flow.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Answer } from '../rate-headers/answer.ts';
import type { Clock, Random } from '../util/clock.ts';

/** Names one budget at the API: whose it is, and which class of routes spends it. */
export interface BucketName {
  /** Stable; without the key, it reveals nothing about the credential. */
  readonly id: string;
  readonly class: string;
  /** Its name among the buckets of the class, by the settings or by the API; absent for the first. */
  readonly name?: string | undefined;
  /** The limit to assume until the API reports its own; else {@link BucketOptions.configuredLimit}. */
  readonly configuredLimit?: ConfiguredLimit | undefined;
}

/**
 * A request for permission to send. All attempts of one call have the same id; an answer can show that
 * the next one spends from other buckets.
 */
export interface Ticket {
  /** The call's id, unique over all replicas. */
  readonly id: string;
  readonly bucket: BucketName;
  /** The party that the queue is fair to: the caller's key, else its address. */
  readonly owner: string;
  /** The name that the caller states. One owner has a bounded number of flows, whatever it states. */
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share against others at the same priority; 1 unless a rule says otherwise. */
  readonly weight: number;
  /** How many operations the request costs, if that is stated. */
  readonly cost?: number | undefined;
  /** On {@link Clock.now}. A retry keeps its position in the queue by this age. */
  readonly arrivedAt: number;
  /** On {@link Clock.now}: the last moment at which an attempt may start. */
  readonly deadlineAt: number;
  /**
   * The same request at the further buckets that it spends from, in the order in which it acquires
   * them. The order must be the same for all requests, because each holds what it has acquired.
   */
  readonly others?: readonly Ticket[] | undefined;
  /** The request takes its socket with the grant of a later bucket. */
  readonly needsNoSocket?: true;
  /**
   * The same request at the quota of its caller. It is acquired before all others, because no other
   * caller needs what is held of it.
   */
  readonly quota?: Ticket | undefined;
}

/** A ticket at each of its buckets, in the order in which they are acquired. */
export function ticketsOf(ticket: Ticket): readonly Ticket[] {
  const atApi = ticketsAtApi(ticket);
  return ticket.quota === undefined ? atApi : [ticket.quota, ...atApi];
}

/** A ticket at each of its buckets of the API: all but the quota of its caller. */
export function ticketsAtApi(ticket: Ticket): readonly Ticket[] {
  return ticket.others === undefined ? [ticket] : [ticket, ...ticket.others];
}

/** Whether a bucket is the quota of a caller, of which no answer of the API reports anything. */
export function isQuota({ configuredLimit }: BucketName): boolean {
  return configuredLimit?.isOwn === true;
}

/** A further attempt of a ticket that had a grant before. */
export interface Retry {
  /** On {@link Clock.now}: the earliest grant, where a 429 concerns this request alone. */
  readonly notBefore: number;
}

/** Permission to send one request now. It must be settled exactly once. */
export interface Grant {
  readonly ticket: Ticket;
  /** On {@link Clock.now}. */
  readonly grantedAt: number;
  /**
   * What the ticket waited for last. A grant that waited for the budget uses the lane, because many
   * such grants may be given at one moment; sockets become free one by one. `reserve`: the budget had
   * an operation for it, which was kept for other owners.
   */
  readonly waitedFor: 'nothing' | 'socket' | 'budget' | 'reserve';
  /** It spends an operation that was kept for owners like its own. */
  readonly fromReserve?: true | undefined;
  /** Of several buckets, the one that the ticket waited for longest; absent if it did not wait. */
  readonly longestWaitAt?: BucketName | undefined;
}

/** Why a request was shed. */
export type ShedCode =
  | 'queue-full'
  | 'wait-too-long'
  | 'caller-quota'
  | 'cost-too-high'
  | 'draining'
  | 'too-many-buckets'
  | 'too-many-buckets-of-owner';

/** A request was refused without being sent. `retryAfterMs`: when the caller should repeat it. */
export interface Shed {
  readonly kind: 'shed';
  readonly code: ShedCode;
  readonly retryAfterMs: number;
  /** Of several buckets, the one that refused. */
  readonly bucket?: BucketName;
  /** An operator paused the bucket, and may resume it at any time; absent otherwise. */
  readonly paused?: true;
  /** With `cost-too-high`: the limit, if it is known. */
  readonly limit?: number | undefined;
}

/** While this replica drains, another one or its successor answers within a moment. */
export const DRAINING_RETRY_MS = 1000;

/**
 * Sheds a ticket that cannot start in time here: by its own deadline, or by the end of draining. In a
 * bucket that is `paused`, it says so.
 */
export function tooLate(
  ticket: Ticket,
  drainUntil: number,
  retryAfterMs: number,
  paused: boolean,
): Shed {
  return drainUntil < ticket.deadlineAt
    ? { kind: 'shed', code: 'draining', retryAfterMs: DRAINING_RETRY_MS }
    : shedWhile(paused, 'wait-too-long', Math.max(0, retryAfterMs));
}

/** Sheds a ticket of a bucket that may be `paused`. */
export function shedWhile(paused: boolean, code: ShedCode, retryAfterMs: number): Shed {
  return paused
    ? { kind: 'shed', code, retryAfterMs, paused }
    : { kind: 'shed', code, retryAfterMs };
}

/** A ticket got its grant. */
export interface Granted {
  readonly kind: 'granted';
  readonly grant: Grant;
}

/** The caller disconnected while its ticket waited. */
export interface Cancelled {
  readonly kind: 'cancelled';
}

/** A ticket waits in its queue. */
export interface Waiting {
  readonly kind: 'waiting';
  /** Never rejects. */
  readonly outcome: Promise<Granted | Shed | Cancelled>;
  /** Present if the ledger has yet to decide whether the ticket has to wait: it asks Redis. */
  readonly decision?: WaitDecision;
}

/** Reports that a ticket has to wait. */
export interface WaitDecision {
  onWaits: (() => void) | undefined;
}

/** What a ledger answers to a request for a grant, without a wait. */
export type Admission = Granted | Waiting | Shed;

/** How a grant ended. `unsent`: the API cannot have seen the request. `lost`: it may have. */
export type Outcome =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'unsent' }
  | { readonly kind: 'lost' };

/** Reports that the caller has gone. It does what `AbortSignal` does, at a fraction of its cost. */
export interface CallerSignal {
  /** Whether the caller has gone already. A listener that is added after that is never called. */
  readonly gone: boolean;
  /**
   * Adds a listener, which is called once when the caller disconnects. The result removes it. `isWait`:
   * it ends the wait of a ticket, which waits in one queue at a time.
   */
  onGone(listener: () => void, isWait?: true): RemoveListener;
}

/** The signal of a ticket whose request was sent already. */
export const NEVER_GONE: CallerSignal = { gone: false, onGone: () => () => undefined };

/** Removes a listener. A second call, or a call after the listener ran, does nothing. */
export type RemoveListener = () => void;

/** A bucket's numbers, for logs, metrics and people. */
export interface BucketView {
  readonly id: string;
  readonly class: string;
  /** See {@link BucketName.name}. */
  readonly name?: string;
  /** The settings state a limit of this name; absent otherwise. */
  readonly stated?: true;
  /** It is the quota of the caller of this name; absent otherwise. */
  readonly quota?: true;
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
  readonly waiting: number;
  /** An operator paused it at this replica; absent otherwise. */
  readonly paused?: true;
}

type NameInView = Pick<BucketView, 'name' | 'stated' | 'quota'>;
const UNNAMED: NameInView = {};

/** What a view shows of a bucket's name. */
export function nameInView(bucket: BucketName): NameInView {
  const { name, configuredLimit } = bucket;
  if (name === undefined) return UNNAMED;
  if (isQuota(bucket)) return { name, stated: true, quota: true };
  return configuredLimit === undefined ? { name } : { name, stated: true };
}

/** A bucket's numbers and its waiting tickets, for `/buckets`, the live page and the metrics. */
export interface BucketSnapshot extends BucketView {
  /** The API's name; absent where there is one API. */
  readonly api?: string;
  /** Which routes spend from it, and why that is known, if answers showed it. */
  readonly learned?: { readonly why: string; readonly routes: readonly string[] };
  /**
   * Milliseconds until the last waiting ticket can expect its grant; absent when no ticket waits, or
   * when too little is known.
   */
  readonly etaMs?: number;
  /** How many of the operations that remain are kept for owners that use little; absent for none. */
  readonly kept?: number;
  /** How long ago the oldest ticket arrived that waits at this replica; absent when none waits. */
  readonly oldestWaitMs?: number;
  /** The tickets that wait at this replica, by caller: the busiest 100, the rest as `other`. */
  readonly waitingHereByCaller: Readonly<Record<string, number>>;
}

/**
 * Keeps the buckets and their queues: in this process, or in Redis for all replicas.
 *
 * Every grant is settled exactly once. It throws to settle a grant twice, or one of another ledger,
 * because this is a bug in the calling code that would spend a slot twice.
 */
export interface Ledger {
  /**
   * Requests a grant, and returns it at once if possible. Otherwise the ticket waits in its flow until
   * it is granted or shed, or its caller has gone. `retry`: the ticket had a grant before, so it keeps
   * its position by age and costs its flow nothing more.
   */
  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission;
  /** Reports how a grant ended. */
  settle(grant: Grant, outcome: Outcome): void;
  /**
   * Keeps a grant from expiring that is not used yet. It counts as given now. Returns the grant to use
   * and to settle instead.
   */
  renew(grant: Grant): Grant;
  /** Why a new ticket would be shed now, as far as this process knows; it is not queued. */
  refusal(ticket: Ticket): Shed | undefined;
  /** One bucket's numbers now; `undefined` when there is no such bucket. */
  view(bucketId: string): BucketView | undefined;
  snapshot(): BucketSnapshot[];
  /**
   * Milliseconds until a bucket's last waiting ticket can expect its grant; `undefined` when none
   * waits, or when too little is known.
   */
  etaMs(bucketId: string): number | undefined;
  /**
   * Grants nothing of a bucket until {@link resume}; its tickets wait, and their deadlines still
   * apply. Other replicas are not paused. Returns whether there is such a bucket.
   */
  pause(bucketId: string): boolean;
  /** Ends a pause. Returns whether there is such a bucket. */
  resume(bucketId: string): boolean;
  /** From now on no ticket waits beyond `untilMs` on {@link Clock.now}: those that would are shed. */
  drain(untilMs: number): void;
  close(): Promise<void>;
}

/** Where the buckets are kept. `local`: in this process while Redis is unreachable. */
export type LedgerMode = 'memory' | 'redis' | 'local';

/** Receives what metrics need to know of a ledger. Must not throw. */
export interface LedgerObserver {
  /** A step succeeded: how long it took, and how many tickets it carried. */
  step(durationMs: number, tickets: number): void;
  /** The mode from now on. */
  mode(mode: LedgerMode): void;
}

/** The sockets to the API, which all buckets share. A grant uses one until its answer has ended. */
export interface SocketPermits {
  /** How many are free now. */
  readonly free: number;
  /** Takes a socket; returns whether one was free. */
  take(): boolean;
  /** Sets what to call when a socket becomes free after {@link take} or {@link free} found none. */
  onFree(run: () => void): void;
}

/** What a bucket needs, in whichever ledger it is kept. */
export interface BucketOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** What is known of the API's clock; the reader of the API's answers updates it. */
  readonly apiClock: ApiClock;
  readonly socketPermits: SocketPermits;
  /** How many tickets may wait in one bucket. */
  readonly maxQueue: number;
  /** The limit of an API that reports none. A new value applies to existing buckets too. */
  readonly configuredLimit?: { readonly limit: number; readonly periodMs: number } | undefined;
  /** Which part of a limit may be kept for owners that do not wait; 0 for none. */
  readonly spread?: number | undefined;
  /** The parts of each limit that are kept for single callers; `undefined` for none. */
  readonly shares?: StatedShares | undefined;
}
