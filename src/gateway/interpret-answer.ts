import type { LearnedDraws } from '../draws/learned-draws.ts';
import { costPointer } from '../http/classify.ts';
import { ticketsAtApi, type Grant, type Ticket } from '../ledger/ledger.ts';
import type { ReadAnswer } from '../rate-headers/answer-reader.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import { readAge, type RateLimitReading, type RateHeaders } from '../rate-headers/rate-headers.ts';
import { makeHttpDateReader } from '../rate-headers/timestamps.ts';
import type { Log } from '../telemetry/log.ts';
import type { AnsweredAttempt } from '../upstream/exchange.ts';
import { attribute, type Attributed } from './attribute.ts';
import { makeWarnOfDoubtful } from './doubtful-headers.ts';
import type { Job } from './identify.ts';
import { FreeGrant } from './free-grant.ts';
import { withCostInHeader } from './settled-cost.ts';
import { makeReadThrottle, type Throttle, type ThrottleDependencies } from './throttle.ts';

/** What an answer says of a limit, and of the buckets from which its request spent. */
export interface InterpretedAnswer {
  readonly rateHeaders: RateHeaders;
  /** Absent if the answer does not throttle. */
  readonly throttle: Throttle | undefined;
  /** Absent for a preflight, which spends nothing. */
  readonly attributed: Attributed | undefined;
  /** Where the body states what the request did cost, if it is to be read there. */
  readonly costAt: string | undefined;
}

/** Finds out what an answer says. Settles nothing, but the API's clock and the lessons learn from it. */
export type InterpretAnswer = (job: Job, grant: Grant, sent: AnsweredAttempt) => InterpretedAnswer;

export interface InterpretAnswerDependencies extends ThrottleDependencies {
  readonly readAnswer: ReadAnswer;
  readonly learned: Pick<LearnedDraws, 'learn'>;
  readonly apiClock: ApiClock;
  readonly log: Log;
}

const UNREAD: RateHeaders = { budgets: [] };
const NOTHING: RateLimitReading = {};
const PREFLIGHT = { throttle: undefined, attributed: undefined, costAt: undefined };

export function makeInterpretAnswer(dependencies: InterpretAnswerDependencies): InterpretAnswer {
  const { readAnswer, learned, apiClock, clock, log } = dependencies;
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

  return function interpretAnswer(job, grant, sent) {
    const { response, receivedAt } = sent;
    const { status } = response;
    const isCached = (readAge(response.headers) ?? 0) > 0;
    const rateHeaders = readReports(job, sent, isCached);
    // What refuses a preflight is no budget that could be waited for.
    if (isPreflightGrant(grant)) return { rateHeaders, ...PREFLIGHT };
    const throttle = readThrottle(status, rateHeaders, receivedAt, job.call.attempts);
    const { grantedAt } = grant;
    const attributed = isCached
      ? unreported(job.ticket)
      : attribute(job, rateHeaders, { status, refusal: throttle, grantedAt, receivedAt }, learned);
    return {
      rateHeaders,
      throttle,
      attributed,
      costAt: isCached ? undefined : costPointer(job.rule),
    };
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
