import type { SettlesEach } from '../../ledger/draws-ledger.ts';
import type { Grant } from '../../ledger/ledger.ts';
import type { Log } from '../../telemetry/log.ts';
import type { PipelineObserver } from '../../telemetry/pipeline-observer.ts';
import { describeConnectFailure } from '../../upstream/connect-failure.ts';
import type { SendResult } from '../../upstream/exchange.ts';
import type { FailureReason } from '../../upstream/response.ts';
import type { Clock, Random } from '../../util/clock.ts';
import { traceFields } from '../call.ts';
import type { Job } from '../identify.ts';
import { GatewayError, type ProblemCode } from '../problem.ts';
import { retryDelay } from './retry-delay.ts';
import type { Settled } from './settled.ts';

/** An attempt that had no answer. */
export type FailedAttempt = SendResult & { readonly kind: 'unsent' | 'lost' };

/** Settles the grant of an attempt that had no answer, and decides what follows. */
export type SettleFailure = (
  job: Job,
  grant: Grant,
  failed: FailedAttempt,
  retriesLeft: number,
) => Settled;

export interface SettleFailureDependencies {
  readonly ledger: Pick<SettlesEach, 'settle'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<PipelineObserver, 'attempted'>;
}

export function makeSettleFailure(dependencies: SettleFailureDependencies): SettleFailure {
  const { ledger, clock, random, log, observer } = dependencies;

  return function settleFailure(job, grant, failed, retriesLeft) {
    const { kind, reason, error } = failed;
    ledger.settle(grant, { kind });
    observer.attempted(reason);
    const { call } = job;
    if (call.gone || reason === 'aborted') return { kind: 'cancelled' };
    const hint = reason === 'unreachable' ? describeConnectFailure(error).hint : undefined;
    log.warn(
      {
        id: call.id,
        attempt: call.attempts,
        sent: kind,
        reason,
        ...(hint === undefined ? {} : { hint }),
        ...traceFields(call),
        err: error,
      },
      'attempt failed',
    );
    // A request that the API cannot have received may be repeated; any other only if idempotent.
    const isRepeatable = kind === 'unsent' ? reason !== 'invalid' : job.idempotent;
    if (isRepeatable && job.body.replayable && retriesLeft > 0) {
      const notBefore = clock.now() + retryDelay(call.attempts, random);
      return { kind: 'retry', cause: 'failed', retry: { notBefore } };
    }
    return { kind: 'failed', error: problemOf(failed) };
  };
}

/** The problem that stands for each failure of an attempt. */
const FAILURES: Readonly<Record<FailureReason, { code: ProblemCode; detail: string }>> = {
  timeout: { code: 'upstream-timeout', detail: 'the API sent no answer in time' },
  protocol: { code: 'upstream-protocol', detail: "the API's answer was not valid HTTP" },
  invalid: { code: 'bad-request', detail: 'the request has a method or header that HTTP forbids' },
  unreachable: { code: 'upstream-unreachable', detail: 'no connection to the API could be made' },
  reset: { code: 'upstream-unreachable', detail: 'the connection broke before an answer arrived' },
  aborted: {
    code: 'upstream-unreachable',
    detail: 'the connection broke before an answer arrived',
  },
};

const TOO_LARGE = "the API's answer has more than 64 KiB of headers";

function problemOf({ kind, reason, error }: FailedAttempt): GatewayError {
  const { code, detail: ofReason } = FAILURES[reason];
  const isTooLarge = 'code' in error && error.code === 'UND_ERR_HEADERS_OVERFLOW';
  const usual = isTooLarge ? TOO_LARGE : ofReason;
  const { detail, proxyError } =
    reason === 'unreachable' ? describeConnectFailure(error) : { detail: usual };
  const executed = kind === 'lost' ? 'it may have executed the request' : 'it saw no request';
  return new GatewayError(code, `${detail}; ${executed}`, {
    cause: error,
    ...(proxyError === undefined ? {} : { proxyError }),
  });
}
