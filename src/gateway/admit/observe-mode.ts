import {
  NEVER_GONE,
  ticketsOf,
  type Cancelled,
  type Granted,
  type Ledger,
  type Shed,
  type SocketPermits,
  type Ticket,
  type WaitDecision,
  type Waiting,
} from '../../ledger/ledger.ts';
import type { Clock } from '../../util/clock.ts';
import type { Call } from '../call.ts';
import { FreeGrant } from './free-grant.ts';
import type { Job } from '../identify.ts';

/**
 * `observe`: no request waits for its budget or is shed for it. The queue is kept as if it did, and
 * the log and the metrics say what would have happened.
 */
export type Mode = 'enforce' | 'observe';

/** Grants a request at once, and notes on its call what would have happened. A socket must be free. */
export type Observe = (job: Job, requestedAt: number) => Granted | Promise<Granted>;

export interface ObserveDependencies {
  readonly ledger: Pick<Ledger, 'acquire' | 'settle' | 'etaMs'>;
  readonly clock: Clock;
  readonly socketPermits: Pick<SocketPermits, 'take'> & { release(): void };
}

/** How long an observed request is kept at most until a ledger has asked Redis whether it waits. */
const DECISION_MS = 1000;

export function makeObserve({ ledger, clock, socketPermits }: ObserveDependencies): Observe {
  /** What the ledger decides; that the ticket waits, if it decides nothing in time. */
  function decided(
    waiting: Waiting,
    decision: WaitDecision,
  ): Promise<Granted | Shed | Cancelled | Waiting> {
    return new Promise((resolve) => {
      const end = (outcome: Granted | Shed | Cancelled | Waiting): void => {
        timer.cancel();
        resolve(outcome);
      };
      const timer = clock.after(DECISION_MS, () => resolve(waiting));
      decision.onWaits = () => end(waiting);
      void waiting.outcome.then(end);
    });
  }

  /** Notes when the last ticket of the bucket that takes longest can expect its grant. */
  function noteEta(call: Call, ticket: Ticket): void {
    let longestMs: number | undefined;
    for (const { bucket } of ticketsOf(ticket)) {
      const etaMs = ledger.etaMs(bucket.id);
      if (etaMs === undefined || etaMs <= (longestMs ?? -1)) continue;
      longestMs = etaMs;
      call.decisiveBucket = bucket;
    }
    call.wouldHave({ waitMs: longestMs, shed: undefined });
  }

  /** Notes the decision of the ledger on the call. The request has a socket. */
  function observed(
    { call, ticket }: Job,
    decision: Granted | Shed | Cancelled | Waiting,
    requestedAt: number,
  ): Granted {
    if (decision.kind === 'granted') {
      call.wouldHave({ waitMs: 0, shed: undefined });
      return decision;
    }
    if (decision.kind === 'shed') {
      call.wouldHave({ waitMs: undefined, shed: decision.code });
      if (decision.bucket !== undefined) call.decisiveBucket = decision.bucket;
    }
    if (decision.kind === 'waiting') {
      noteEta(call, ticket);
      void decision.outcome.then((outcome) => {
        if (outcome.kind !== 'granted') return;
        // The operation counts as spent now, as it would be if the request had waited.
        ledger.settle(outcome.grant, { kind: 'lost' });
        socketPermits.release();
      });
    }
    return { kind: 'granted', grant: new FreeGrant(ticket, requestedAt, 'observe') };
  }

  return function observe(job, requestedAt) {
    const admission = ledger.acquire(job.ticket, NEVER_GONE);
    if (admission.kind !== 'waiting' || admission.decision === undefined) {
      if (admission.kind !== 'granted') socketPermits.take();
      return observed(job, admission, requestedAt);
    }
    // The grant of the ledger takes a socket as well, and this one is then released.
    socketPermits.take();
    return decided(admission, admission.decision).then((decision) => {
      if (decision.kind === 'granted') socketPermits.release();
      return observed(job, decision, requestedAt);
    });
  };
}
