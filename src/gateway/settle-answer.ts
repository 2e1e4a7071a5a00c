import type { LearnedDraws } from '../draws/learned-draws.ts';
import type { SettlesEach } from '../ledger/draws-ledger.ts';
import { ticketsAtApi, type BucketName, type Grant, type Ticket } from '../ledger/ledger.ts';
import { mostBinding, type RateLimitReading } from '../rate-headers/rate-headers.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { AnsweredAttempt } from '../upstream/exchange.ts';
import type { Mode } from './admit.ts';
import { isStatedLimit, withCost, type Attributed } from './attribute.ts';
import { outcomeAt, UNSENT, type ResultAtBucket } from './bucket-outcome.ts';
import { traceFields } from './call.ts';
import { outcomeAtQuota } from './caller-quota.ts';
import type { DrawsOf } from './draws.ts';
import type { Job } from './identify.ts';
import {
  makeInterpretAnswer,
  type InterpretedAnswer,
  type InterpretAnswerDependencies,
} from './interpret-answer.ts';
import type { LoneRefusals } from './lone-refusals.ts';
import { GatewayError } from './problem.ts';
import { makeWatchCost } from './settled-cost.ts';
import type { Settled } from './settled.ts';
import type { Throttle } from './throttle.ts';
import { redraw } from './waiting-jobs.ts';

/** Settles the grant of an attempt that the API answered, and decides what follows. */
export type SettleAnswer = (job: Job, grant: Grant, sent: AnsweredAttempt) => Settled;

export interface SettleAnswerDependencies extends InterpretAnswerDependencies {
  readonly ledger: SettlesEach;
  readonly learned: Pick<LearnedDraws, 'drawsOf' | 'learn' | 'changesOf'>;
  readonly drawsOf: DrawsOf;
  readonly loneRefusals: LoneRefusals;
  readonly observer: Pick<PipelineObserver, 'attempted' | 'accepted' | 'throttled'>;
  readonly mode: Mode;
}

/** What a throttling answer refused. */
interface Refused {
  readonly what: Exclude<ResultAtBucket, 'accepted' | 'elsewhere'>;
  /** The position of the bucket: see {@link Attributed.refusing}. -1 if there is none. */
  readonly at: number;
}

export function makeSettleAnswer(dependencies: SettleAnswerDependencies): SettleAnswer {
  const { ledger, log, observer, mode, loneRefusals } = dependencies;
  const interpretAnswer = makeInterpretAnswer(dependencies);
  const watchCost = makeWatchCost(dependencies);

  /** Which bucket refused. Without one, the request waits alone, unless another was refused as well. */
  function refusedBy(
    { refusing, readings, unexpected }: Attributed,
    { call, ticket }: Job,
    receivedAt: number,
    { until }: Throttle,
  ): Refused {
    if (refusing !== undefined) return { what: 'bucket', at: refusing };
    // It concerns a bucket of which the request has no grant, and says nothing of the others.
    if (unexpected.length > 0) return { what: 'request', at: -1 };
    const at = readings.findIndex((reading) => reading !== undefined);
    const bucket = ticketsAtApi(ticket)[at]?.bucket;
    const isLone =
      bucket === undefined || loneRefusals.isLone(bucket.id, call.id, receivedAt, until);
    return { what: isLone ? 'request' : 'closed', at };
  }

  /** Settles the grant of an accepted request. Most of them spent from one bucket, as expected. */
  function settleAccepted(
    job: Job,
    grant: Grant,
    sent: AnsweredAttempt,
    attributed: Attributed,
  ): void {
    const { readings, unexpected } = attributed;
    const [only] = readings;
    const { bucket, quota } = job.ticket;
    const isOfOne = readings.length === 1 && unexpected.length === 0 && quota === undefined;
    if (isOfOne && only !== undefined) {
      observer.accepted(bucket.id, bucket.class);
      ledger.settle(grant, outcomeAt(only, 'accepted', sent));
      return;
    }
    for (const spent of settleEach(job, grant, attributed, sent, undefined)) {
      if (spent !== undefined) observer.accepted(spent.bucket.id, spent.bucket.class);
    }
  }

  /**
   * Settles the grant when the body has stated what the request did cost, as if the answer had arrived
   * then: it stays a lease until then.
   */
  function settleByBody(
    job: Job,
    grant: Grant,
    sent: AnsweredAttempt,
    attributed: Attributed,
    pointer: string,
  ): void {
    const { ticket, rule } = job;
    watchCost({ name: rule.name, pointer }, sent.response, (cost) => {
      const known = cost === undefined ? attributed : withCost(attributed, ticket, cost);
      settleAccepted(job, grant, sent, known);
    });
  }

  /**
   * Reports the outcome to each bucket: those of the grant, and those from which the request spent
   * without one. Returns the tickets at the API's buckets from which it spent, by position.
   */
  function settleEach(
    job: Job,
    grant: Grant,
    { readings, unexpected }: Attributed,
    sent: AnsweredAttempt,
    refused: Refused | undefined,
  ): (Ticket | undefined)[] {
    const tickets = ticketsAtApi(job.ticket);
    const resultAt = (at: number): ResultAtBucket => {
      if (refused === undefined) return 'accepted';
      return at === refused.at ? refused.what : 'elsewhere';
    };
    const outcomes = readings.map((reading, at) => outcomeAt(reading, resultAt(at), sent));
    const { quota } = job.ticket;
    if (quota !== undefined) {
      const cost = readings.find((reading) => reading?.cost !== undefined)?.cost;
      outcomes.unshift(outcomeAtQuota(quota, sent, refused !== undefined, cost));
    }
    ledger.settle(grant, outcomes);
    const spent = tickets.map((ticket, at) => (readings[at] === undefined ? undefined : ticket));
    if (unexpected.length > 0 || readings.includes(undefined)) redraw(job, dependencies);
    for (const { name, reading } of unexpected) {
      const ticket = ticketOfClass(job.ticket, name);
      if (ticket !== undefined) {
        ledger.spendUngranted(ticket, outcomeAt(reading, resultAt(spent.length), sent));
      }
      spent.push(ticket);
    }
    return spent;
  }

  function logThrottle(
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

  /** Settles the grant by what the answer says, and decides what follows. */
  function decide(
    job: Job,
    grant: Grant,
    sent: AnsweredAttempt,
    { rateHeaders, throttle, attributed, costAt }: InterpretedAnswer,
  ): Settled {
    const { response, receivedAt } = sent;
    observer.attempted(throttle === undefined ? 'answered' : 'throttled');
    if (attributed === undefined) {
      ledger.settle(grant, UNSENT);
      return { kind: 'respond', response };
    }
    if (throttle === undefined) {
      if (costAt === undefined) settleAccepted(job, grant, sent, attributed);
      else settleByBody(job, grant, sent, attributed, costAt);
      return { kind: 'respond', response };
    }
    const refused = refusedBy(attributed, job, receivedAt, throttle);
    const spent = settleEach(job, grant, attributed, sent, refused);
    const { bucket } = spent[refused.at] ?? job.ticket;
    observer.throttled(bucket.class);
    // A 503 does not prove that the request was not executed. In observe mode nothing is sent again.
    if (mode === 'observe' || (response.status === 503 && !job.idempotent)) {
      return { kind: 'respond', response };
    }
    response.discard();
    const reading = readingAt(attributed, refused.at) ?? mostBinding(rateHeaders);
    logThrottle(job, bucket, reading, sent, throttle, refused);
    if (!job.body.replayable) return { kind: 'failed', error: notReplayable(sent, throttle) };
    // A bucket that refused blocks all its requests. One of which this request had no grant may
    // receive the outcome only after the retry's request for a grant.
    const isBlocked = refused.what !== 'request' && refused.at < attributed.readings.length;
    const notBefore = isBlocked ? 0 : throttle.until;
    return { kind: 'retry', cause: 'throttled', retry: { notBefore } };
  }

  return function settleAnswer(job, grant, sent) {
    let interpreted: InterpretedAnswer;
    try {
      interpreted = interpretAnswer(job, grant, sent);
    } catch (error) {
      // The API has executed the request, and the caller receives a problem instead of its answer.
      ledger.settle(grant, { kind: 'lost' });
      sent.response.discard();
      throw error;
    }
    return decide(job, grant, sent, interpreted);
  };
}

/** What an answer says of the bucket at a position: see {@link Attributed.refusing}. */
function readingAt({ readings, unexpected }: Attributed, at: number): RateLimitReading | undefined {
  return at < readings.length ? readings[at] : unexpected[at - readings.length]?.reading;
}

/** The ticket at a bucket of the class, by its learned name; empty for the class's own bucket. */
function ticketOfClass(ticket: Ticket, learnedName: string): Ticket | undefined {
  return ticketsAtApi(ticket).find(({ bucket }) => {
    return !isStatedLimit(bucket) && (bucket.name ?? '') === learnedName;
  });
}

function notReplayable({ receivedAt }: AnsweredAttempt, { retryAt }: Throttle): GatewayError {
  return new GatewayError(
    'not-replayable',
    'the API throttled this request, and its body was too large to keep for another attempt',
    { retryAfterMs: Math.max(1000, (retryAt ?? receivedAt) - receivedAt) },
  );
}
