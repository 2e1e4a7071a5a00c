import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Random, Clock } from '../util/clock.ts';
import { readAge, readRateLimit, type RateLimitReading } from '../rate-headers/rate-headers.ts';
import type { Reset } from '../rate-headers/reset-value.ts';
import { makeHttpDateReader } from '../rate-headers/timestamps.ts';
import type { Retry, Grant, Ledger } from '../ledger/ledger.ts';
import type { Log } from '../telemetry/log.ts';
import type { RetryCause, PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { Sent } from '../upstream/exchange.ts';
import type { FailureReason, UpstreamResponse } from '../upstream/response.ts';
import type { Forwarded } from './forward.ts';
import type { Job } from './job.ts';
import { makeNoteDoubtful } from './doubtful.ts';
import { GatewayError, type ProblemCode } from './problem.ts';

/** What comes after an attempt. */
export type Settled =
  | { readonly kind: 'respond'; readonly response: UpstreamResponse }
  | {
      readonly kind: 'retry';
      readonly retry: Retry;
      readonly because: RetryCause;
    }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: GatewayError };

/** Tells the ledger what became of a grant, and decides what comes next. Exactly once a grant. */
export type Settle = (job: Job, grant: Grant, forwarded: Forwarded, retriesLeft: number) => Settled;

export interface SettleDependencies {
  readonly ledger: Pick<Ledger, 'settle'>;
  readonly apiClock: ApiClock;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<PipelineObserver, 'throttled'>;
}

/** The first retry comes after up to this long; each further one after up to twice as long. */
const RETRY_MS = { first: 250, last: 10_000 };

export function makeSettle(dependencies: SettleDependencies): Settle {
  const { ledger, apiClock, clock, random, log, observer } = dependencies;
  const noteDoubtful = makeNoteDoubtful(log, clock);

  const readDate = makeHttpDateReader();

  /** Full jitter: replicas and callers that failed together do not come back together. */
  function backoff(attempt: number): number {
    return random() * Math.min(RETRY_MS.first * 2 ** (attempt - 1), RETRY_MS.last);
  }

  function answered(job: Job, grant: Grant, sent: Sent & { kind: 'answered' }): Settled {
    const { call, ticket } = job;
    const { response, sentAt, receivedAt } = sent;
    const { status, headers } = response;
    const date = typeof headers['date'] === 'string' ? readDate(headers['date']) : undefined;
    const cached = (readAge(headers) ?? 0) > 0;
    if (date !== undefined && !cached) apiClock.observe({ dateMs: date, sentAt, receivedAt });
    const reading: RateLimitReading = cached ? {} : readRateLimit(headers);
    const { doubtful } = reading;
    if (doubtful !== undefined) noteDoubtful(ticket.bucket.id, doubtful, headers);
    ledger.settle(grant, { kind: 'answered', answer: { status, reading, sentAt, receivedAt } });
    if (status !== 429) return { kind: 'respond', response };

    response.discard();
    observer.throttled(ticket.bucket.class);
    const scope = (reading.remaining ?? 0) > 0 ? 'request' : 'bucket';
    const retryAt = momentOf(reading.retryAfter, receivedAt);
    log.warn(
      {
        id: call.id,
        caller: ticket.caller,
        bucket: ticket.bucket.id,
        class: ticket.bucket.class,
        attempt: call.attempts,
        scope,
        ...(reading.limit === undefined ? {} : { limit: reading.limit }),
        ...(reading.remaining === undefined ? {} : { remaining: reading.remaining }),
        ...(retryAt === undefined ? {} : { retryAfterMs: Math.round(retryAt - receivedAt) }),
      },
      'throttled',
    );
    if (!job.body.replayable) {
      return {
        kind: 'failed',
        error: new GatewayError(
          'not-replayable',
          'the API throttled this request, and its body was too large to keep for another attempt',
          { retryAfterMs: Math.max(1000, (retryAt ?? receivedAt) - receivedAt) },
        ),
      };
    }
    // The bucket is closed by now when it is the bucket's doing; else only this request waits.
    const notBefore =
      scope === 'bucket' ? 0 : (retryAt ?? receivedAt + 1000 + backoff(call.attempts));
    return { kind: 'retry', because: 'throttled', retry: { notBefore } };
  }

  function momentOf(retryAfter: Reset | undefined, receivedAt: number): number | undefined {
    if (retryAfter === undefined) return undefined;
    if (retryAfter.kind === 'delay') return receivedAt + retryAfter.afterMs;
    return retryAfter.atMs - apiClock.bounds(receivedAt, clock.wallMs()).low;
  }

  return function settle(job, grant, forwarded, retriesLeft) {
    if (forwarded.kind === 'answered') return answered(job, grant, forwarded);
    if (forwarded.kind === 'stale') {
      ledger.settle(grant, { kind: 'unsent' });
      return { kind: 'retry', because: 'stale', retry: { notBefore: 0 } };
    }
    const { kind, reason, error } = forwarded;
    ledger.settle(grant, { kind });
    const { call } = job;
    if (call.gone || reason === 'aborted') return { kind: 'cancelled' };
    log.warn(
      { id: call.id, attempt: call.attempts, sent: kind, reason, err: error },
      'attempt failed',
    );
    // What the API cannot have seen is safe to repeat; the rest only where repeating is harmless.
    const harmless = kind === 'unsent' ? reason !== 'invalid' : job.idempotent;
    if (harmless && job.body.replayable && retriesLeft > 0) {
      const notBefore = clock.now() + backoff(call.attempts);
      return { kind: 'retry', because: 'failed', retry: { notBefore } };
    }
    return { kind: 'failed', error: failure(forwarded) };
  };
}

/** Which problem a failed attempt is, and how the caller is told of it. */
const FAILURES: Readonly<Record<FailureReason, { code: ProblemCode; detail: string }>> = {
  timeout: { code: 'upstream-timeout', detail: 'the API sent no answer in time' },
  protocol: { code: 'upstream-protocol', detail: "the API's answer was not HTTP" },
  invalid: { code: 'bad-request', detail: 'the request has a method or header that HTTP forbids' },
  unreachable: { code: 'upstream-unreachable', detail: 'no connection to the API could be made' },
  reset: { code: 'upstream-unreachable', detail: 'the connection broke before an answer came' },
  aborted: { code: 'upstream-unreachable', detail: 'the connection broke before an answer came' },
};

function failure({ kind, reason, error }: Sent & { kind: 'unsent' | 'lost' }): GatewayError {
  const { code, detail } = FAILURES[reason];
  const executed = kind === 'lost' ? 'it may have executed the request' : 'it saw no request';
  return new GatewayError(code, `${detail}; ${executed}`, { cause: error });
}
