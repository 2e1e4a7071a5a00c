import type { Clock } from '../util/clock.ts';
import type { Retry, Granted, Ledger, Cancelled, Shed, Ticket } from '../ledger/ledger.ts';
import type { Job } from './identify.ts';
import { DRAINING_DETAIL, GatewayError, retryAfterSeconds } from './problem.ts';

/** How the request for a grant ended; `error` is what the caller of a shed ticket receives. */
export type Admitted =
  | Granted
  | Cancelled
  | { readonly kind: 'shed'; readonly error: GatewayError };

/**
 * Requests a grant from the ledger. This is the only wait of the pipeline. Returns without a promise
 * when the ledger decides at once.
 */
export type Admit = (job: Job, retry: Retry | undefined) => Admitted | Promise<Admitted>;

export interface AdmitDependencies {
  readonly ledger: Pick<Ledger, 'acquire'>;
  readonly clock: Clock;
}

export function makeAdmit({ ledger, clock }: AdmitDependencies): Admit {
  return function admit(job, retry) {
    const { call, ticket } = job;
    if (call.gone) return { kind: 'cancelled' };
    const askedAt = clock.now();
    const admission = ledger.acquire(ticket, call, retry);
    if (admission.kind !== 'waiting') return admitted(admission, ticket);
    return admission.outcome.then((outcome) => {
      call.addWait(clock.now() - askedAt);
      return admitted(outcome, ticket);
    });
  };
}

function admitted(admission: Granted | Shed | Cancelled, ticket: Ticket): Admitted {
  if (admission.kind !== 'shed') return admission;
  return { kind: 'shed', error: shedError(admission, ticket) };
}

function shedError({ code, retryAfterMs: etaMs }: Shed, ticket: Ticket): GatewayError {
  const retryAfterMs =
    code === 'wait-too-long' ? comeBackInMs(etaMs, ticket.deadlineAt - ticket.arrivedAt) : etaMs;
  const seconds = retryAfterSeconds(retryAfterMs);
  const detail = {
    'queue-full': `the queue of this budget is full; try again in ${seconds} s`,
    'wait-too-long': `the budget comes back too late for this request; try again in ${seconds} s`,
    draining: DRAINING_DETAIL,
  }[code];
  return new GatewayError(code, detail, { retryAfterMs });
}

/** From this much patience on, there is a whole second that lies well within it. */
const MIN_PATIENCE_MS = 1000;

/**
 * How long a caller that was shed because its turn comes too late should stay away, in milliseconds.
 *
 * A budget often comes back in one go, and those who wait take it. Who came back only then would
 * find it spent and be shed again, every time. So a caller that is ready to wait is told to come
 * back while its turn is still ahead, by half of what it would wait: in whole seconds, as Retry-After
 * says it, that is within its patience on either side.
 *
 * `etaMs` is when its turn comes, `patienceMs` how long it would wait; both from now.
 */
function comeBackInMs(etaMs: number, patienceMs: number): number {
  if (patienceMs < MIN_PATIENCE_MS) return etaMs;
  return Math.round((etaMs - patienceMs / 2) / 1000) * 1000;
}
