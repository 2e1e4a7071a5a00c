import type { Clock } from '../util/clock.ts';
import { durationText } from '../util/duration.ts';
import {
  isQuota,
  ticketsOf,
  type BucketName,
  type Retry,
  type Granted,
  type Ledger,
  type Cancelled,
  type Shed,
  type SocketPermits,
  type Ticket,
} from '../ledger/ledger.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { RequestMemory } from '../upstream/request-memory.ts';
import type { Call } from './call.ts';
import type { ClientPatience } from './identify/client-patience.ts';
import type { Job } from './identify.ts';
import { FreeGrant } from './admit/free-grant.ts';
import { makeObserve, type Mode } from './admit/observe-mode.ts';
import { DRAINING_DETAIL, GatewayError, retryAfterSeconds } from './problem.ts';
import type { WaitingJobs } from './admit/waiting-jobs.ts';

/** How the request for a grant ended; `error` is what the caller of a shed ticket receives. */
export type Admitted =
  | Granted
  | Cancelled
  | { readonly kind: 'shed'; readonly error: GatewayError };

/**
 * Requests a grant from the ledger. This is the only wait of the pipeline. Returns without a
 * promise when the ledger decides at once.
 */
export type Admit = (job: Job, retry: Retry | undefined) => Admitted | Promise<Admitted>;

export interface AdmitDependencies {
  readonly ledger: Pick<Ledger, 'acquire' | 'settle' | 'etaMs'>;
  readonly clock: Clock;
  readonly memory: RequestMemory;
  readonly socketPermits: Pick<SocketPermits, 'take' | 'free'> & { release(): void };
  readonly mode: Mode;
  readonly observer: Pick<PipelineObserver, 'granted'>;
  readonly waitingJobs: Pick<WaitingJobs, 'wait'>;
  /** Absent: clients' timeouts are not learned. */
  readonly clientPatience?: Pick<ClientPatience, 'gaveUp'> | undefined;
}

export function makeAdmit(dependencies: AdmitDependencies): Admit {
  const { ledger, clock, memory, socketPermits, mode, observer } = dependencies;
  const { waitingJobs, clientPatience } = dependencies;
  const observe = makeObserve(dependencies);

  return function admit(job, retry) {
    const { call, ticket } = job;
    if (call.gone) return { kind: 'cancelled' };
    const requestedAt = clock.now();
    // Without a free socket, a preflight waits in its queue like any request.
    if (job.isPreflight && socketPermits.take()) {
      return { kind: 'granted', grant: new FreeGrant(ticket, requestedAt, 'preflight') };
    }
    // Without a free socket, even an observed request has to wait.
    if (mode === 'observe' && socketPermits.free > 0) return observe(job, requestedAt);
    const admission = ledger.acquire(ticket, call, retry);
    if (admission.kind !== 'waiting') {
      if (admission.kind === 'granted') observer.granted(waitedFraction(ticket, requestedAt));
      noteGrant(call, admission);
      return admitted(admission, ticket);
    }
    // The ledger keeps waiting requests. A request that is granted at once holds no memory for long.
    call.holdMemory(memory, ticket.owner);
    const acquire = (): Promise<Granted | Shed | Cancelled> | Granted | Shed => {
      const again = ledger.acquire(job.ticket, call, retry);
      return again.kind === 'waiting' ? again.outcome : again;
    };
    return waitingJobs.wait(job, admission.outcome, acquire).then((outcome) => {
      const now = clock.now();
      const waited = now - requestedAt;
      const backOff = Math.min(waited, Math.max(0, (retry?.notBefore ?? 0) - requestedAt));
      call.addRetryTime(backOff);
      call.addWait(waited - backOff);
      if (outcome.kind === 'granted') observer.granted(waitedFraction(ticket, now));
      noteGrant(call, outcome);
      if (outcome.kind === 'cancelled' && call.cutOffBy === undefined) {
        clientPatience?.gaveUp(ticket, call.incoming, now);
      }
      return admitted(outcome, job.ticket);
    });
  };
}

/** Notes for the log line which of several buckets decided, and what the reserve did for the call. */
function noteGrant(call: Call, outcome: Granted | Shed | Cancelled): void {
  if (outcome.kind === 'granted') {
    const { longestWaitAt, waitedFor, fromReserve } = outcome.grant;
    if (longestWaitAt !== undefined) call.decisiveBucket = longestWaitAt;
    if (waitedFor === 'reserve') call.waitedFor = 'reserve';
    if (fromReserve === true) call.fromReserve = true;
  }
  if (outcome.kind === 'shed' && outcome.bucket !== undefined) call.decisiveBucket = outcome.bucket;
}

/** The fraction of the time until its deadline that a ticket has waited, over all attempts. */
function waitedFraction({ arrivedAt, deadlineAt }: Ticket, now: number): number {
  const allowedMs = deadlineAt - arrivedAt;
  return allowedMs > 0 ? (now - arrivedAt) / allowedMs : 0;
}

function admitted(admission: Granted | Shed | Cancelled, ticket: Ticket): Admitted {
  if (admission.kind !== 'shed') return admission;
  return { kind: 'shed', error: shedError(admission, ticket) };
}

function shedError(
  { code, retryAfterMs: etaMs, paused, limit, bucket }: Shed,
  ticket: Ticket,
): GatewayError {
  const maxWaitMs = ticket.deadlineAt - ticket.arrivedAt;
  const isLate = code === 'wait-too-long' || code === 'caller-quota';
  let retryAfterMs = isLate ? retryDelayMs(etaMs, maxWaitMs) : etaMs;
  if (paused) retryAfterMs = Math.max(retryAfterMs, maxWaitMs / 2, MIN_PAUSED_RETRY_MS);
  const seconds = retryAfterSeconds(retryAfterMs);
  const at = bucket ?? ticket.bucket;
  const cost = ticketsOf(ticket).find((one) => one.bucket.id === at.id)?.cost;
  const operations = cost === undefined ? '' : `${cost} operations, `;
  const ofLimit = limit === undefined || isQuota(at) ? '' : ` of ${limit}`;
  const whose = isQuota(at) ? quotaText(at) : "the API's limit";
  const pause = 'an operator paused this budget at this replica';
  const detail = {
    'queue-full': paused
      ? `${pause}, and its queue is full; try again in ${seconds} s`
      : `the queue of this budget is full; try again in ${seconds} s`,
    'wait-too-long': paused
      ? `${pause}; try again in ${seconds} s`
      : `the budget refills too late for this request; try again in ${seconds} s`,
    'caller-quota': `${whose} is used up; try again in ${seconds} s`,
    'cost-too-high': `this request costs ${operations}more than ${whose}${ofLimit}; split it`,
    draining: DRAINING_DETAIL,
    'too-many-buckets': `all buckets of this gateway (one per credential and class) are in use or new, so it accepts no other credential now; try again in ${seconds} s`,
    'too-many-buckets-of-owner': `all buckets that this key or address may have (one per credential and class) are in use or new, so it may use no other credential now; try again in ${seconds} s`,
  }[code];
  return new GatewayError(code, detail, code === 'cost-too-high' ? {} : { retryAfterMs });
}

/** The quota of a caller, for people. */
function quotaText({ name = '', configuredLimit }: BucketName): string {
  const size =
    configuredLimit === undefined
      ? ''
      : ` of ${configuredLimit.limit}/${durationText(configuredLimit.periodMs)}`;
  return `the quota${size} of the caller ${name}`;
}

/** The end of a pause cannot be forecast, and callers should not ask for it all the time. */
const MIN_PAUSED_RETRY_MS = 5000;

/** A shorter wait is too short for an estimate in whole seconds. */
const MIN_ROUNDED_WAIT_MS = 1000;

/**
 * How long the caller of a ticket that was shed because it is too late should wait before it sends
 * the request again, in milliseconds. `etaMs` is the time until the ticket's grant, `maxWaitMs` how
 * long the ticket may wait.
 *
 * A budget often refills at once, and waiting tickets spend it. A caller that repeats its request
 * only then finds the budget spent and is shed again, each time. So a caller that may wait should
 * return half of its wait before the grant. Retry-After has whole seconds, and with the rounding
 * the time until the grant is still within the caller's wait.
 */
function retryDelayMs(etaMs: number, maxWaitMs: number): number {
  if (maxWaitMs < MIN_ROUNDED_WAIT_MS) return etaMs;
  return Math.round((etaMs - maxWaitMs / 2) / 1000) * 1000;
}
