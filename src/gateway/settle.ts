import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Random, Clock } from '../util/clock.ts';
import type { LearnedDraws } from '../draws/learned-draws.ts';
import type { ReadAnswer } from '../rate-headers/answer-reader.ts';
import { readCount } from '../rate-headers/header-values.ts';
import {
  mostBinding,
  readAge,
  type HeaderRecord,
  type RateLimitReading,
  type RateLimitReadings,
} from '../rate-headers/rate-headers.ts';
import type { Reset } from '../rate-headers/reset-value.ts';
import { makeHttpDateReader } from '../rate-headers/timestamps.ts';
import type { SettlesEach } from '../ledger/draws-ledger.ts';
import { ticketsOf, type Grant, type Outcome, type Retry } from '../ledger/ledger.ts';
import type { Log } from '../telemetry/log.ts';
import type { RetryCause, PipelineObserver } from '../telemetry/pipeline-observer.ts';
import { describeConnectFailure } from '../upstream/connect-failure.ts';
import type { SendResult } from '../upstream/exchange.ts';
import type { FailureReason, UpstreamResponse } from '../upstream/response.ts';
import { attribute } from './attribute.ts';
import type { Call } from './call.ts';
import { ticketFor, type DrawsOf } from './draws.ts';
import type { Mode } from './admit.ts';
import type { Forwarded } from './forward.ts';
import type { Job } from './identify.ts';
import type { LoneRefusals } from './lone-refusals.ts';
import { OwnGrant } from './own-grant.ts';
import { GatewayError, type ProblemCode } from './problem.ts';

/** What follows an attempt. */
export type Settled =
  | { readonly kind: 'respond'; readonly response: UpstreamResponse }
  | {
      readonly kind: 'retry';
      readonly retry: Retry;
      readonly cause: RetryCause;
    }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: GatewayError };

/** Reports the outcome of a grant to the ledger, once for each grant, and decides what follows. */
export type Settle = (job: Job, grant: Grant, forwarded: Forwarded, retriesLeft: number) => Settled;

export interface SettleDependencies {
  readonly ledger: SettlesEach;
  readonly readAnswer: ReadAnswer;
  readonly learned: Pick<LearnedDraws, 'drawsOf' | 'learn'>;
  readonly drawsOf: DrawsOf;
  readonly loneRefusals: LoneRefusals;
  readonly apiClock: ApiClock;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<PipelineObserver, 'attempted' | 'accepted' | 'throttled'>;
  /** The statuses besides 429 with which the API may throttle. */
  readonly throttleStatuses: readonly number[];
  readonly mode: Mode;
}

const NOTHING: RateLimitReading = {};
const UNREAD: RateLimitReadings = { budgets: [] };
const UNSENT: Outcome = { kind: 'unsent' };
/** The ledger knows one status of a throttled request, and one of any other. */
const REFUSED = 429;
const ACCEPTED = 200;
/** How long a request waits at least whose refusal states no time. */
const MIN_REFUSED_MS = 1000;
/** The maximum delay of the first retry; it doubles with each further one up to `last`. */
const MAX_RETRY_DELAY_MS = { first: 250, last: 10_000 };

export function makeSettle(dependencies: SettleDependencies): Settle {
  const { ledger, apiClock, clock, random, log, observer, throttleStatuses } = dependencies;
  const { readAnswer, learned, drawsOf, loneRefusals, mode } = dependencies;
  const warnOfDoubtful = makeWarnOfDoubtful(log, clock);

  const readDate = makeHttpDateReader();

  /** Full jitter: attempts that failed at the same time are not repeated at the same time. */
  function retryDelay(attempt: number): number {
    return (
      random() * Math.min(MAX_RETRY_DELAY_MS.first * 2 ** (attempt - 1), MAX_RETRY_DELAY_MS.last)
    );
  }

  function answered(job: Job, grant: Grant, sent: SendResult & { kind: 'answered' }): Settled {
    const { call, ticket } = job;
    const tickets = ticketsOf(ticket);
    const { response, receivedAt } = sent;
    const { status, headers } = response;
    const date = typeof headers['date'] === 'string' ? readDate(headers['date']) : undefined;
    const cached = (readAge(headers) ?? 0) > 0;
    if (date !== undefined && !cached) {
      apiClock.observe({ dateMs: date, sentAt: sent.sentAt, receivedAt });
    }
    const read = cached ? UNREAD : readAnswer(headers, ticket.bucket.id, receivedAt);
    // What refuses a preflight is no budget that could be waited for.
    const isPreflight = grant instanceof OwnGrant && grant.reason === 'preflight';
    const isThrottled = !isPreflight && throttles(status, read, receivedAt);
    const refusal = isThrottled ? refusalBy(read, call.attempts, receivedAt) : undefined;
    const attributed =
      cached || isPreflight
        ? { readings: tickets.map(() => mostBinding(read)), unexpected: [], refusing: 0 }
        : attribute(
            job,
            withCost(read, job, headers),
            { status, refusal, grantedAt: grant.grantedAt, receivedAt },
            learned,
          );
    const { readings, unexpected, refusing } = attributed;
    const { doubtful } = read;
    if (doubtful !== undefined) warnOfDoubtful(ticket.bucket.id, doubtful, headers);
    observer.attempted(isThrottled ? 'throttled' : 'answered');
    if (!isThrottled && !isPreflight) {
      for (const { bucket } of tickets) observer.accepted(bucket.id, bucket.class);
    }
    const [only] = readings;
    if (!isThrottled && readings.length === 1 && only !== undefined && unexpected.length === 0) {
      ledger.settle(grant, outcomeOf(status, only, sent));
      return { kind: 'respond', response };
    }
    const retryAt = refusal?.retryAt;
    const aloneUntil = refusal?.until ?? receivedAt;
    const toOutcome = (answerStatus: number, reading: RateLimitReading | undefined): Outcome =>
      outcomeOf(answerStatus, reading, sent);
    // Without a bucket that refused, the request alone waits, unless another one was refused as well.
    const at = refusing ?? readings.findIndex((reading) => reading !== undefined);
    const { bucket } = tickets[at] ?? ticket;
    const isLone =
      isThrottled &&
      refusing === undefined &&
      (at === -1 || loneRefusals.isLone(bucket.id, call.id, receivedAt, aloneUntil));
    const outcomes = readings.map((reading, i) => {
      if (!isThrottled) return toOutcome(status, reading);
      if (i !== at || reading === undefined) return toOutcome(ACCEPTED, reading);
      // What remains is no matter of the limit that refused the bucket: it reveals only a time.
      if (refusing === undefined && !isLone) return toOutcome(REFUSED, onlyWait(reading));
      return toOutcome(isLone && (reading.remaining ?? 0) === 0 ? ACCEPTED : REFUSED, reading);
    });
    ledger.settle(grant, outcomes);
    if (unexpected.length > 0 || readings.includes(undefined)) redraw(job);
    for (const [i, { name, reading }] of unexpected.entries()) {
      const one = ticketsOf(job.ticket).find((drawn) => drawn.bucket.name === name);
      const isRefusing = isThrottled && tickets.length + i === refusing;
      if (one !== undefined) ledger.note(one, toOutcome(isRefusing ? REFUSED : ACCEPTED, reading));
    }
    if (!isThrottled) return { kind: 'respond', response };
    const reading = readings[at] ?? mostBinding(read);
    observer.throttled(bucket.class);
    // A 503 does not prove that the request was not executed. In observe mode nothing is sent again.
    if (mode === 'observe' || (status === 503 && !job.idempotent)) {
      return { kind: 'respond', response };
    }

    response.discard();
    log.warn(
      {
        id: call.id,
        caller: ticket.caller,
        bucket: bucket.id,
        class: bucket.class,
        attempt: call.attempts,
        status,
        scope: isLone ? 'request' : 'bucket',
        ...(reading.limit === undefined ? {} : { limit: reading.limit }),
        ...(reading.remaining === undefined ? {} : { remaining: reading.remaining }),
        ...(retryAt === undefined ? {} : { retryAfterMs: Math.round(retryAt - receivedAt) }),
        ...traceFields(call),
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
    // If the throttle concerns the bucket, the ledger has blocked it; else this request alone
    // waits.
    const notBefore = isLone ? aloneUntil : 0;
    return { kind: 'retry', cause: 'throttled', retry: { notBefore } };
  }

  /** Gives a request the buckets from which it spends by what was just learned. */
  function redraw(job: Job): void {
    const { rule, credential, method, costOf, call } = job;
    job.learned = learned.drawsOf(rule.name, method, call.identity.path);
    job.ticket = ticketFor(drawsOf(rule, credential, job.learned), costOf, job.ticket);
  }

  /**
   * Whether an answer throttles. With another status than 429 it must say until when, or that nothing
   * remains until a reset. Any other is the API's own matter, such as a missing permission (403).
   */
  function throttles(status: number, read: RateLimitReadings, receivedAt: number): boolean {
    if (status === 429) return true;
    if (!throttleStatuses.includes(status)) return false;
    const { remaining, reset, retryAfter } = mostBinding(read);
    if (retryAfter !== undefined) return true;
    return remaining === 0 && (timeOf(reset, receivedAt) ?? 0) > receivedAt;
  }

  /** Until when a refused request waits if it waits alone, and whether the API stated that time. */
  function refusalBy({ retryAfter }: RateLimitReadings, attempts: number, receivedAt: number) {
    const retryAt = timeOf(retryAfter, receivedAt);
    const until = retryAt ?? receivedAt + MIN_REFUSED_MS + retryDelay(attempts);
    return { retryAt, until, isStated: retryAt !== undefined };
  }

  function timeOf(time: Reset | undefined, receivedAt: number): number | undefined {
    if (time === undefined) return undefined;
    if (time.kind === 'delay') return receivedAt + time.afterMs;
    return time.atMs - apiClock.bounds(receivedAt, clock.wallMs()).low;
  }

  return function settle(job, grant, forwarded, retriesLeft) {
    if (forwarded.kind === 'answered') return answered(job, grant, forwarded);
    if (forwarded.kind === 'stale') {
      ledger.settle(grant, { kind: 'unsent' });
      return { kind: 'retry', cause: 'stale', retry: { notBefore: 0 } };
    }
    const { kind, reason, error } = forwarded;
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
      const notBefore = clock.now() + retryDelay(call.attempts);
      return { kind: 'retry', cause: 'failed', retry: { notBefore } };
    }
    return { kind: 'failed', error: failure(forwarded) };
  };
}

/** What became of an operation at one of the buckets; without a reading, none was spent there. */
function outcomeOf(
  status: number,
  reading: RateLimitReading | undefined,
  { sentAt, receivedAt }: SendResult & { kind: 'answered' },
): Outcome {
  if (reading === undefined) return UNSENT;
  return { kind: 'answered', answer: { status, reading, sentAt, receivedAt } };
}

/** Adds what the call did cost, if a header of the answer is configured to say it. */
function withCost(
  read: RateLimitReadings,
  { rule }: Job,
  headers: HeaderRecord,
): RateLimitReadings {
  const { settleCost } = rule;
  if (settleCost === undefined) return read;
  const cost = readCount(String(headers[settleCost.header]));
  return cost === undefined ? read : { ...read, cost };
}

/** The fields by which collectors join log lines and traces. */
function traceFields({ trace }: Call): object {
  return trace === undefined ? {} : { trace_id: trace.traceId, span_id: trace.spanId };
}

function onlyWait({ retryAfter }: RateLimitReading): RateLimitReading {
  return retryAfter === undefined ? NOTHING : { retryAfter };
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

function failure({ kind, reason, error }: SendResult & { kind: 'unsent' | 'lost' }): GatewayError {
  const { code, detail: usual } = FAILURES[reason];
  const { detail, proxyError } =
    reason === 'unreachable' ? describeConnectFailure(error) : { detail: usual };
  const executed = kind === 'lost' ? 'it may have executed the request' : 'it saw no request';
  return new GatewayError(code, `${detail}; ${executed}`, {
    cause: error,
    ...(proxyError === undefined ? {} : { proxyError }),
  });
}

/** Reports the rate headers `names` of an answer, which could not be understood. */
type WarnOfDoubtful = (bucket: string, names: readonly string[], headers: HeaderRecord) => void;

/** An API that sends one doubtful answer usually sends many, so one line a minute is enough. */
const WARN_INTERVAL_MS = 60_000;
const MAX_SHOWN_CHARACTERS = 100;

/** Warns at most once a minute, with the number of answers that had doubtful rate headers. */
function makeWarnOfDoubtful(log: Log, clock: Clock): WarnOfDoubtful {
  let quietUntil = Number.NEGATIVE_INFINITY;
  let answers = 0;
  return (bucket, names, headers) => {
    answers++;
    const now = clock.now();
    if (now < quietUntil) return;
    quietUntil = now + WARN_INTERVAL_MS;
    const values = names.map((name) => String(headers[name]).slice(0, MAX_SHOWN_CHARACTERS));
    log.warn({ bucket, headers: names, values, answers }, 'doubtful rate headers');
    answers = 0;
  };
}
