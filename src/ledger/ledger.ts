import type { Priority } from '../queue/fair-queue.ts';
import type { Answer } from '../rate-headers/observation.ts';

/** Names one budget at the API: a credential's hash and a class of routes. */
export interface BucketName {
  /** Stable, and says nothing about the credential to who does not hold the key. */
  readonly id: string;
  readonly class: string;
}

/** A request that asks for a slot. It is the same object through all its attempts. */
export interface Ticket {
  /** The call's id, unique over all replicas. */
  readonly id: string;
  readonly bucket: BucketName;
  /** Who the queue is fair to: the caller's key, else its address. */
  readonly owner: string;
  /** What the caller calls itself; one owner gets a bounded number of flows whatever it says. */
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share against others at the same priority; 1 unless a rule says otherwise. */
  readonly weight: number;
  /** On {@link Clock.now}; its age decides its place when it comes back for another attempt. */
  readonly arrivedAt: number;
  /** On {@link Clock.now}: the last moment at which an attempt may start. */
  readonly deadlineAt: number;
}

/** A further attempt of a ticket that had a grant before. */
export interface Retry {
  /** On {@link Clock.now}: not before then; for a 429 that was about this request alone. */
  readonly notBefore: number;
}

/** The leave to send one request now. It must be settled, once. */
export interface Grant {
  readonly ticket: Ticket;
  /** On {@link Clock.now}. */
  readonly grantedAt: number;
  /**
   * What kept its ticket, last. What waited for the budget goes through the lane, as much of it may
   * be granted in one moment; sockets come free one by one.
   */
  readonly waitedFor: 'nothing' | 'socket' | 'budget';
}

/** Why a request was refused without being sent. */
export type ShedCode = 'queue-full' | 'wait-too-long' | 'draining';

/** A refusal, and how long the caller should wait before it asks again. */
export interface Shed {
  readonly kind: 'shed';
  readonly code: ShedCode;
  readonly retryAfterMs: number;
}

export interface Granted {
  readonly kind: 'granted';
  readonly grant: Grant;
}

/** The caller went away while its ticket waited. */
export interface Cancelled {
  readonly kind: 'cancelled';
}

export interface Waiting {
  readonly kind: 'waiting';
  /** Never rejects. */
  readonly outcome: Promise<Granted | Shed | Cancelled>;
}

export type Admission = Granted | Waiting | Shed;

/** What became of a grant. `unsent`: the API cannot have seen it. `lost`: it may have. */
export type Outcome =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'unsent' }
  | { readonly kind: 'lost' };

/** Reports that the caller has gone: what `AbortSignal` is for, at a fraction of its cost. */
export interface CallerSignal {
  /** Whether the caller has gone already. A listener that is added after that is never called. */
  readonly gone: boolean;
  /** Adds a listener, which is called once when the caller goes. The result removes it. */
  onGone(listener: () => void): RemoveListener;
}

/** Removes a listener. A second call, or a call after the listener ran, does nothing. */
export type RemoveListener = () => void;

/** A bucket's numbers, for logs, metrics and people. */
export interface BucketView {
  readonly id: string;
  readonly class: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
  readonly waiting: number;
  /** An operator holds its grants back, at this replica; absent when nobody does. */
  readonly paused?: true;
}

export interface BucketSnapshot extends BucketView {
  /**
   * Milliseconds until the last waiting ticket can expect its grant; absent when nothing waits, or
   * when too little is known to say.
   */
  readonly etaMs?: number;
  /** Waiting tickets by caller: the busiest 100, the rest as `other`. */
  readonly waitingByCaller: Readonly<Record<string, number>>;
}

/**
 * Keeps the buckets and their queues: in this process, or in Redis for all replicas.
 *
 * Every grant is settled exactly once. Settling one twice, or one that this ledger did not give,
 * throws: it is a bug of the caller's that would spend a slot twice.
 */
export interface Ledger {
  /**
   * Asks for a grant. Answers at once when it can; else the ticket waits in its flow until it is
   * granted, shed, or its caller goes. `again` says that it had a grant before: it keeps its place
   * by age and costs its flow nothing more.
   */
  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission;
  /** Tells what became of a grant. */
  settle(grant: Grant, outcome: Outcome): void;
  /** One bucket's numbers now; `undefined` when there is no such bucket. */
  view(bucketId: string): BucketView | undefined;
  snapshot(): BucketSnapshot[];
  /**
   * Gives no more grants of a bucket until {@link resume}; its tickets wait, and their deadlines
   * hold. For this replica alone: others go on. Answers whether there is such a bucket.
   */
  pause(bucketId: string): boolean;
  /** Ends a pause. Answers whether there is such a bucket. */
  resume(bucketId: string): boolean;
  /** From now on nothing waits beyond `untilMs` on {@link Clock.now}: what would have to is shed. */
  drain(untilMs: number): void;
  close(): Promise<void>;
}

/** Where the buckets are kept: in this process alone, in Redis, or here because Redis is away. */
export type LedgerMode = 'memory' | 'redis' | 'local';

/** Hears what metrics want to know of a ledger at work. Must not throw. */
export interface LedgerObserver {
  /** A transition of the shared state is over: how long it took, and how many tickets were in it. */
  step(durationMs: number, tickets: number): void;
  /** The mode that is in force from now on. */
  mode(mode: LedgerMode): void;
}

/** The sockets to the API, which all buckets share. A grant holds one until its answer ended. */
export interface SocketPermits {
  /** How many are free now. */
  readonly free: number;
  /** Takes a socket, or says that none is free. */
  take(): boolean;
  /** Sets what to call when a socket came free after {@link take} or {@link free} had said none. */
  onFree(run: () => void): void;
}
