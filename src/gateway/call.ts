import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Priority } from '../queue/flow.ts';
import { readTraceparent, type TraceIds } from '../http/trace-context.ts';
import type { LinkedListItem } from '../util/linked-list.ts';
import type { BucketName, CallerSignal, RemoveListener } from '../ledger/ledger.ts';
import type {
  MemoryReservation,
  RequestMemory,
  ReservationHolder,
} from '../upstream/request-memory.ts';
import { GatewayError, type ProblemCode } from './problem.ts';
import { requestBytes } from './connections/request-bytes.ts';

/** How a call ended, as its log line states it. */
export type CallEnd =
  /** The caller received the API's answer. */
  | { readonly kind: 'answered'; readonly code?: undefined }
  /** The caller disconnected first; `code` is the problem that it would have received, if any. */
  | { readonly kind: 'aborted'; readonly code: ProblemCode | undefined }
  /** The caller received a problem: `shed` if waiting could not succeed, else `failed`. */
  | { readonly kind: 'shed' | 'failed'; readonly code: ProblemCode };

/** Memory becomes free in about the time of a call. */
const MEMORY_RETRY_MS = 1000;

/** What would have happened to a call that is only observed. */
export interface WouldHave {
  /** By the forecast; `undefined` if too little is known, or if the call would have been shed. */
  readonly waitMs: number | undefined;
  /** The code with which it would have been shed. */
  readonly shed: string | undefined;
}

export const ANSWERED: CallEnd = { kind: 'answered' };
export const ABORTED: CallEnd = { kind: 'aborted', code: undefined };

/**
 * What a request is, as far as it has been understood. `identify` fills it in field by field, so
 * that the log line of a request that it refuses has what was understood before.
 */
export interface CallIdentity {
  /** Normalised. */
  readonly path: string;
  readonly query: string;
  caller: string;
  priority: Priority | undefined;
  bucket: BucketName | undefined;
  /** The further buckets from which the request spends. */
  others?: readonly BucketName[] | undefined;
  /** How many operations it costs, if that is stated. */
  cost: number | undefined;
  /** The client's learned patience, if it shortens the wait. */
  patienceMs: number | undefined;
}

/** The identity of a request of which the target alone is understood. */
export function identityOf({ path, query }: Pick<CallIdentity, 'path' | 'query'>): CallIdentity {
  return {
    path,
    query,
    caller: '',
    priority: undefined,
    bucket: undefined,
    cost: undefined,
    patienceMs: undefined,
  };
}

const NOT_IDENTIFIED: Readonly<CallIdentity> = identityOf({ path: '', query: '' });

/**
 * One call from its arrival to its log line: its request and answer, whether it still has a caller,
 * and the figures of its log line.
 *
 * A call stops early in two ways: its caller disconnects, or Headgate cuts it off. The first of
 * them counts. After either of them the call is `gone`, and steps that wait for something give up.
 */
export class Call implements CallerSignal, LinkedListItem<Call>, ReservationHolder {
  readonly id: string;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** On `Clock.now`. */
  readonly arrivedAt: number;

  /** The linked list that holds the call owns these three. */
  isLinked = false;
  previous: Call | undefined;
  next: Call | undefined;

  /** Set by `identify`; see {@link redrawn}. */
  identity: Readonly<CallIdentity> = NOT_IDENTIFIED;
  /**
   * The path under which the caller reaches the gateway, and once its route is known, the API: empty,
   * or such as `/github`.
   */
  prefix = '';
  /** Of several buckets, the one that the call waited for longest, or that refused it. */
  decisiveBucket: BucketName | undefined;
  /** Whether the reserve kept the call waiting, at any of its attempts. */
  waitedFor: 'reserve' | undefined;
  /** Whether an attempt spent an operation that was kept for owners like its own. */
  fromReserve: true | undefined;
  /** The owner for whom the call is counted. Set by `identify` alone. */
  countedFor: string | undefined;
  #trace: TraceIds | undefined;
  #wouldHave: WouldHave | undefined;
  #attempts = 0;
  #waitMs = 0;
  #retryMs = 0;
  #upstreamMs = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #expectsContinue: boolean;
  #reservation: MemoryReservation | undefined;
  #isSending = false;
  #gone = false;
  #cutOffBy: GatewayError | undefined;
  /** Ends the wait of the call's ticket. */
  #endWait: (() => void) | undefined;
  /** All others. Most calls have one at a time, for which a list of one element is small. */
  #listeners: (() => void)[] | undefined;

  constructor(
    id: string,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    arrivedAt: number,
    expectsContinue = false,
  ) {
    this.id = id;
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.arrivedAt = arrivedAt;
    this.#expectsContinue = expectsContinue;
    const onClose = (): void => {
      if (!outgoing.writableFinished) this.#stop();
    };
    outgoing.on('close', onClose);
  }

  /** The answer showed from which buckets the request spends. */
  redrawn(bucket: BucketName, others: readonly BucketName[] | undefined): void {
    this.identity = { ...this.identity, bucket, others };
  }

  /** Set in observe mode alone. */
  get observed(): WouldHave | undefined {
    return this.#wouldHave;
  }

  wouldHave(happened: WouldHave): void {
    this.#wouldHave = happened;
  }

  /** The call's own span, or the caller's if the call is not traced here; absent without either. */
  get trace(): TraceIds | undefined {
    return (this.#trace ??= readTraceparent(this.incoming.headers['traceparent']));
  }

  /** The call has a span of its own. Called by tracing alone, when the call begins. */
  traceAs(ids: TraceIds): void {
    this.#trace = ids;
  }

  /** Requests sent to the API. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Milliseconds in the queue and the lane, over all attempts. */
  get waitMs(): number {
    return this.#waitMs;
  }

  /** Milliseconds of back-off before retries, in which the request may not queue yet. */
  get retryMs(): number {
    return this.#retryMs;
  }

  /** Milliseconds from sending until the API's headers, over all attempts. */
  get upstreamMs(): number {
    return this.#upstreamMs;
  }

  /** Bytes of the caller's body that were read. */
  get bytesIn(): number {
    return this.#bytesIn;
  }

  /** Bytes of the answer's body that were written. */
  get bytesOut(): number {
    return this.#bytesOut;
  }

  addAttempt(): void {
    this.#attempts++;
  }

  addWait(ms: number): void {
    this.#waitMs += ms;
  }

  addRetryTime(ms: number): void {
    this.#retryMs += ms;
  }

  addUpstreamTime(ms: number): void {
    this.#upstreamMs += ms;
  }

  addBytesIn(bytes: number): void {
    this.#bytesIn += bytes;
  }

  addBytesOut(bytes: number): void {
    this.#bytesOut += bytes;
  }

  /** Whether the caller still waits for `100 Continue` before it sends its body. */
  get expectsContinue(): boolean {
    return this.#expectsContinue;
  }

  /** Sends `100 Continue`, once, to a caller that waits for it. */
  sendContinue(): void {
    if (!this.#expectsContinue) return;
    this.#expectsContinue = false;
    this.outgoing.writeContinue();
  }

  /** An attempt is in flight, so the request must stay in memory. Set by the pipeline alone. */
  set isSending(isSending: boolean) {
    this.#isSending = isSending;
    this.#reservation?.pin(isSending);
  }

  get isSending(): boolean {
    return this.#isSending;
  }

  /**
   * Counts the request against `memory` until {@link releaseMemory}, because it has to wait: for its
   * body, or for a grant. May evict it at once. Does nothing when it is counted already.
   */
  holdMemory(memory: RequestMemory, owner: string): void {
    if (this.#reservation !== undefined) return;
    const { priority, caller } = this.identity;
    this.#reservation = memory.reserve(owner, `${priority} ${caller}`, this);
    this.#reservation.grow(requestBytes(this.incoming));
  }

  /** Counts `bytes` of the body that are kept. */
  holdBody(bytes: number): void {
    this.#reservation?.grow(bytes);
  }

  releaseMemory(): void {
    this.#reservation?.release();
  }

  /** Refuses the call because the memory for waiting requests is full. */
  evict(): void {
    const why = 'waiting requests fill their memory, and this flow takes most of it';
    this.cutOff(new GatewayError('body-memory-full', why, { retryAfterMs: MEMORY_RETRY_MS }));
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** The reason for which Headgate cut the call off. */
  get cutOffBy(): GatewayError | undefined {
    return this.#cutOffBy;
  }

  onGone(listener: () => void, isWait?: true): RemoveListener {
    if (isWait === true) {
      this.#endWait = listener;
      return () => {
        if (this.#endWait === listener) this.#endWait = undefined;
      };
    }
    const listeners = this.#listeners;
    if (listeners === undefined) this.#listeners = [listener];
    else listeners.push(listener);
    return () => {
      const at = this.#listeners?.indexOf(listener) ?? -1;
      if (at >= 0) this.#listeners?.splice(at, 1);
    };
  }

  /** Ends the wait of the call's ticket, as if its caller had gone; the call goes on. */
  leaveQueue(): void {
    const endWait = this.#endWait;
    this.#endWait = undefined;
    endWait?.();
  }

  /**
   * Stops the call wherever it is: it leaves its queue, and its attempt is aborted. The caller then
   * receives `error`. Does nothing when the call has stopped already, so the first reason stays.
   */
  cutOff(error: GatewayError): void {
    if (this.#gone) return;
    this.#cutOffBy = error;
    this.#stop();
  }

  #stop(): void {
    if (this.#gone) return;
    this.#gone = true;
    // First: otherwise the ticket would be granted the socket that the last attempt frees.
    this.leaveQueue();
    // The newest first.
    const listeners = this.#listeners ?? [];
    for (let next = listeners.pop(); next !== undefined; next = listeners.pop()) next();
  }
}

/** The fields by which collectors join log lines and traces. */
export function traceFields({ trace }: Call): object {
  return trace === undefined ? {} : { trace_id: trace.traceId, span_id: trace.spanId };
}
