import type { Clock } from '../util/clock.ts';
import type { Retry, Granted, Ledger, Cancelled, Shed } from '../ledger/ledger.ts';
import type { Job } from './job.ts';

/** How asking for a grant ended. */
export type Admitted = Granted | Shed | Cancelled;

/**
 * Asks the ledger for a grant, and owns the only wait of the walk. Answers without a promise when
 * nothing has to be waited for.
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
    if (admission.kind !== 'waiting') return admission;
    return admission.outcome.then((outcome) => {
      call.addWait(clock.now() - askedAt);
      return outcome;
    });
  };
}
