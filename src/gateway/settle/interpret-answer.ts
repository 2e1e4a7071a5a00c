import type { LearnedDraws } from '../../draws/learned-draws.ts';
import { costPointer } from '../../http/classify.ts';
import { ticketsAtApi, type Grant, type Ticket } from '../../ledger/ledger.ts';
import type { ReadAnswer } from '../../rate-headers/answer-reader.ts';
import type { ApiClock } from '../../rate-headers/api-clock.ts';
import {
  mostBinding,
  readAge,
  type RateHeaders,
  type RateLimitReading,
} from '../../rate-headers/rate-headers.ts';
import { makeHttpDateReader } from '../../rate-headers/timestamps.ts';
import type { Log } from '../../telemetry/log.ts';
import type { AnsweredAttempt } from '../../upstream/exchange.ts';
import { attribute, type Attributed } from './attribute.ts';
import type { ResultAtBucket } from './bucket-outcome.ts';
import { makeWarnOfDoubtful } from './doubtful-headers.ts';
import type { Job } from '../identify.ts';
import { FreeGrant } from '../admit/free-grant.ts';
import type { LoneRefusals } from './lone-refusals.ts';
import { withCostInHeader } from './settled-cost.ts';
import { makeReadThrottle, type Throttle, type ThrottleDependencies } from './throttle.ts';

/** What an answer says of a limit, and of the buckets from which its request spent. */
export type InterpretedAnswer =
  /** It answers a preflight, which spends nothing. No budget that could be waited for refuses one. */
  | { readonly kind: 'preflight' }
  | {
      readonly kind: 'accepted';
      readonly attributed: Attributed;
      /** Where the body states what the request did cost, if it is to be read there. */
      readonly costAt: string | undefined;
    }
  | {
      readonly kind: 'throttled';
      readonly attributed: Attributed;
      readonly throttle: Throttle;
      readonly refused: Refused;
      /** What it reports of the bucket that refused, else the most binding of its reports. */
      readonly reading: RateLimitReading;
    };

/** What a throttling answer refused. */
export interface Refused {
  readonly what: Exclude<ResultAtBucket, 'accepted' | 'elsewhere'>;
  /** The position of the bucket: see {@link Attributed.refusing}. -1 if there is none. */
  readonly at: number;
}

/**
 * Finds out what an answer says. `throttlesInBody`: its body says that it throttles. Settles nothing, but
 * the API's clock and the lessons learn from it.
 */
export type InterpretAnswer = (
  job: Job,
  grant: Grant,
  sent: AnsweredAttempt,
  throttlesInBody: boolean,
) => InterpretedAnswer;

export interface InterpretAnswerDependencies extends ThrottleDependencies {
  readonly readAnswer: ReadAnswer;
  readonly learned: Pick<LearnedDraws, 'learn'>;
  readonly loneRefusals: LoneRefusals;
  readonly apiClock: ApiClock;
  readonly log: Log;
}

const UNREAD: RateHeaders = { budgets: [] };
const NOTHING: RateLimitReading = {};
const PREFLIGHT: InterpretedAnswer = { kind: 'preflight' };

export function makeInterpretAnswer(dependencies: InterpretAnswerDependencies): InterpretAnswer {
  const { readAnswer, learned, loneRefusals, apiClock, clock, log } = dependencies;
  const readThrottle = makeReadThrottle(dependencies);
  const warnOfDoubtful = makeWarnOfDoubtful(log, clock);
  const readDate = makeHttpDateReader();

  /** Reads what an answer reports, and the API's clock. An answer from a cache reports nothing. */
  function readReports(
    job: Job,
    { response: { headers }, sentAt, receivedAt }: AnsweredAttempt,
    isCached: boolean,
  ): RateHeaders {
    if (isCached) return UNREAD;
    const date = typeof headers['date'] === 'string' ? readDate(headers['date']) : undefined;
    if (date !== undefined) apiClock.observe({ dateMs: date, sentAt, receivedAt });
    const bucketId = job.ticket.bucket.id;
    const rateHeaders = readAnswer(headers, bucketId, receivedAt);
    if (rateHeaders.doubtful !== undefined) warnOfDoubtful(bucketId, rateHeaders.doubtful, headers);
    return withCostInHeader(rateHeaders, job.rule, headers);
  }

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

  return function interpretAnswer(job, grant, sent, throttlesInBody) {
    const { response, receivedAt } = sent;
    const { status } = response;
    const isCached = (readAge(response.headers) ?? 0) > 0;
    const rateHeaders = readReports(job, sent, isCached);
    if (isPreflightGrant(grant)) return PREFLIGHT;
    // What the body says counts as a 429 does.
    const said = throttlesInBody ? 429 : status;
    const throttle = readThrottle(said, rateHeaders, receivedAt, job.call.attempts);
    const { grantedAt } = grant;
    const circumstances = { status, refusal: throttle, grantedAt, receivedAt };
    const attributed = isCached
      ? unreported(job.ticket)
      : attribute(job, rateHeaders, circumstances, learned);
    if (throttle === undefined) {
      return { kind: 'accepted', attributed, costAt: isCached ? undefined : costPointer(job.rule) };
    }
    const refused = refusedBy(attributed, job, receivedAt, throttle);
    const reading = readingAt(attributed, refused.at) ?? mostBinding(rateHeaders);
    return { kind: 'throttled', attributed, throttle, refused, reading };
  };
}

function isPreflightGrant(grant: Grant): boolean {
  return grant instanceof FreeGrant && grant.reason === 'preflight';
}

/** An answer from a cache does not say from which of several buckets its request spent. */
function unreported(ticket: Ticket): Attributed {
  const readings = ticketsAtApi(ticket).map(() => NOTHING);
  return { readings, unexpected: [], refusing: readings.length === 1 ? 0 : undefined };
}

/** What an answer says of the bucket at a position: see {@link Attributed.refusing}. */
function readingAt({ readings, unexpected }: Attributed, at: number): RateLimitReading | undefined {
  return at < readings.length ? readings[at] : unexpected[at - readings.length]?.reading;
}
