import type { Grant } from '../ledger/ledger.ts';
import type { Forwarded } from './forward.ts';
import type { Job } from './identify.ts';
import { makeSettleAnswer, type SettleAnswerDependencies } from './settle/settle-answer.ts';
import { makeSettleFailure, type SettleFailureDependencies } from './settle/settle-failure.ts';
import type { Settled } from './settle/settled.ts';
import { mayThrottleInBody, throttlesInBody } from './settle/throttle-in-body.ts';

/**
 * Reports the outcome of a grant to the ledger, once for each grant, and decides what follows. It waits
 * only for the body of an answer that may throttle there.
 */
export type Settle = (
  job: Job,
  grant: Grant,
  forwarded: Forwarded,
  retriesLeft: number,
) => Settled | Promise<Settled>;

export type SettleDependencies = SettleAnswerDependencies & SettleFailureDependencies;

export function makeSettle(dependencies: SettleDependencies): Settle {
  const { ledger, throttleStatuses, clock } = dependencies;
  const settleAnswer = makeSettleAnswer(dependencies);
  const settleFailure = makeSettleFailure(dependencies);

  return function settle(job, grant, forwarded, retriesLeft) {
    if (forwarded.kind === 'answered') {
      const { response } = forwarded;
      if (!mayThrottleInBody(response, throttleStatuses)) {
        return settleAnswer(job, grant, forwarded, false);
      }
      return throttlesInBody(response, clock).then((throttles) => {
        return settleAnswer(job, grant, forwarded, throttles);
      });
    }
    if (forwarded.kind !== 'stale') return settleFailure(job, grant, forwarded, retriesLeft);
    ledger.settle(grant, { kind: 'unsent' });
    return { kind: 'retry', cause: 'stale', retry: { notBefore: 0 } };
  };
}
