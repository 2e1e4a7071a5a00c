import type { LearnedDraws } from '../../draws/learned-draws.ts';
import type { SettlesEach } from '../../ledger/draws-ledger.ts';
import type { BucketName, Grant } from '../../ledger/ledger.ts';
import type { RateLimitReading } from '../../rate-headers/rate-headers.ts';
import type { Log } from '../../telemetry/log.ts';
import type { PipelineObserver } from '../../telemetry/pipeline-observer.ts';
import type { AnsweredAttempt } from '../../upstream/exchange.ts';
import { withCost, type Attributed } from './attribute.ts';
import { UNSENT } from './bucket-outcome.ts';
import { traceFields } from '../call.ts';
import type { DrawsOf } from '../identify/draws.ts';
import type { Job } from '../identify.ts';
import {
  makeInterpretAnswer,
  type InterpretedAnswer,
  type InterpretAnswerDependencies,
  type Refused,
} from './interpret-answer.ts';
import type { Mode } from '../admit/observe-mode.ts';
import { GatewayError } from '../problem.ts';
import { makeSettleBuckets } from './settle-buckets.ts';
import { makeWatchCost } from './settled-cost.ts';
import type { Settled } from './settled.ts';
import type { Throttle } from './throttle.ts';
import type { WaitingJobs } from '../admit/waiting-jobs.ts';

/**
 * Settles the grant of an attempt that the API answered, and decides what follows. `throttlesInBody`: the
 * body of the answer says that it throttles.
 */
export type SettleAnswer = (
  job: Job,
  grant: Grant,
  sent: AnsweredAttempt,
  throttlesInBody: boolean,
) => Settled;

export interface SettleAnswerDependencies extends InterpretAnswerDependencies {
  readonly ledger: SettlesEach;
  readonly waitingJobs: Pick<WaitingJobs, 'move'>;
  readonly learned: Pick<LearnedDraws, 'drawsOf' | 'learn' | 'changesOf'>;
  readonly drawsOf: DrawsOf;
  readonly observer: Pick<PipelineObserver, 'attempted' | 'accepted' | 'throttled'>;
  readonly mode: Mode;
}

export function makeSettleAnswer(dependencies: SettleAnswerDependencies): SettleAnswer {
  const { ledger, log, observer, mode } = dependencies;
  const settleBuckets = makeSettleBuckets(dependencies);
  const interpretAnswer = makeInterpretAnswer(dependencies);
  const watchCost = makeWatchCost(dependencies);

  /**
   * Settles the grant when the body has stated what the request did cost, as if the answer had arrived
   * then: it stays a lease until then.
   */
  function settleByBody(
    job: Job,
    grant: Grant,
    attributed: Attributed,
    sent: AnsweredAttempt,
    pointer: string,
  ): void {
    const { ticket, rule } = job;
    watchCost({ name: rule.name, pointer }, sent.response, (cost) => {
      const known = cost === undefined ? attributed : withCost(attributed, ticket, cost);
      settleBuckets.accepted(job, grant, known, sent);
    });
  }

  /** Settles the grant of a throttled attempt, and decides what follows. */
  function settleThrottled(
    job: Job,
    grant: Grant,
    sent: AnsweredAttempt,
    { attributed, throttle, refused, reading }: InterpretedAnswer & { kind: 'throttled' },
  ): Settled {
    const { response } = sent;
    const spent = settleBuckets.refused(job, grant, attributed, sent, refused);
    const { bucket } = spent[refused.at] ?? job.ticket;
    observer.throttled(bucket.class);
    // A 5xx does not prove that the request was not executed. In observe mode nothing is sent again.
    if (mode === 'observe' || (response.status >= 500 && !job.idempotent)) {
      return { kind: 'respond', response };
    }
    response.discard();
    logThrottle(log, job, bucket, reading, sent, throttle, refused);
    if (!job.body.replayable) return { kind: 'failed', error: notReplayable(sent, throttle) };
    // A bucket that refused blocks all its requests. One of which this request had no grant may
    // receive the outcome only after the retry's request for a grant.
    const isBlocked = refused.what !== 'request' && refused.at < attributed.readings.length;
    const notBefore = isBlocked ? 0 : throttle.until;
    return { kind: 'retry', cause: 'throttled', retry: { notBefore } };
  }

  return function settleAnswer(job, grant, sent, throttlesInBody) {
    const { response } = sent;
    let answer: InterpretedAnswer;
    try {
      answer = interpretAnswer(job, grant, sent, throttlesInBody);
    } catch (error) {
      // The API has executed the request, and the caller receives a problem instead of its answer.
      ledger.settle(grant, { kind: 'lost' });
      response.discard();
      throw error;
    }
    observer.attempted(answer.kind === 'throttled' ? 'throttled' : 'answered');
    switch (answer.kind) {
      case 'preflight':
        ledger.settle(grant, UNSENT);
        return { kind: 'respond', response };
      case 'accepted':
        if (answer.costAt === undefined) {
          settleBuckets.accepted(job, grant, answer.attributed, sent);
        } else {
          settleByBody(job, grant, answer.attributed, sent, answer.costAt);
        }
        return { kind: 'respond', response };
      case 'throttled':
        return settleThrottled(job, grant, sent, answer);
      default:
        return answer satisfies never;
    }
  };
}

function notReplayable({ receivedAt }: AnsweredAttempt, { retryAt }: Throttle): GatewayError {
  return new GatewayError(
    'not-replayable',
    'the API throttled this request, and its body was too large to keep for another attempt',
    { retryAfterMs: Math.max(1000, (retryAt ?? receivedAt) - receivedAt) },
  );
}

function logThrottle(
  log: Log,
  { call, ticket }: Job,
  bucket: BucketName,
  { limit, remaining }: RateLimitReading,
  { response, receivedAt }: AnsweredAttempt,
  { retryAt }: Throttle,
  { what }: Refused,
): void {
  log.warn(
    {
      id: call.id,
      caller: ticket.caller,
      bucket: bucket.id,
      class: bucket.class,
      attempt: call.attempts,
      status: response.status,
      scope: what === 'request' ? 'request' : 'bucket',
      ...(limit === undefined ? {} : { limit }),
      ...(remaining === undefined ? {} : { remaining }),
      ...(retryAt === undefined ? {} : { retryAfterMs: Math.round(retryAt - receivedAt) }),
      ...traceFields(call),
    },
    'throttled',
  );
}
