import type { Outcome } from '../../ledger/ledger.ts';
import type { RateLimitReading } from '../../rate-headers/rate-headers.ts';
import type { AnsweredAttempt } from '../../upstream/exchange.ts';

/**
 * How an answered request ended at one of its buckets.
 *
 * - `accepted`: the API accepted it.
 * - `bucket`: it was refused, because the bucket has nothing left.
 * - `closed`: it was refused, because of a limit of the bucket that the API does not report.
 * - `request`: this request alone was refused, or by a limit of a bucket that is not known.
 * - `elsewhere`: another one of its buckets refused it.
 */
export type ResultAtBucket = 'accepted' | 'bucket' | 'closed' | 'request' | 'elsewhere';

/** The request spent nothing at the bucket. */
export const UNSENT: Outcome = { kind: 'unsent' };

/** The ledger knows one status of a throttled request, whatever the API's was. */
const REFUSED = 429;
/** For a bucket that did not refuse the request: a failure that was not counted, and shows nothing. */
const REFUSED_ELSEWHERE = 400;

/**
 * Returns the outcome of the request at one of its buckets, for the ledger. `reading`: what the answer
 * reports of that bucket; `undefined` if the request spent nothing there.
 */
export function outcomeAt(
  reading: RateLimitReading | undefined,
  result: ResultAtBucket,
  sent: AnsweredAttempt,
): Outcome {
  if (reading === undefined) return UNSENT;
  switch (result) {
    case 'accepted':
      return answered(sent.response.status, reading, sent);
    case 'bucket':
      return answered(REFUSED, reading, sent);
    case 'closed':
      // What remains is no matter of the limit that refused the request: it reveals only a time.
      return answered(REFUSED, onlyWait(reading), sent);
    case 'request':
    case 'elsewhere':
      return answered(uncountedStatus(reading), reading, sent);
    default:
      return result satisfies never;
  }
}

/** The status that says that the request spent nothing in a bucket, and does not block it. */
function uncountedStatus({ remaining = 0 }: RateLimitReading): number {
  return remaining > 0 ? REFUSED : REFUSED_ELSEWHERE;
}

function answered(
  status: number,
  reading: RateLimitReading,
  { sentAt, receivedAt }: AnsweredAttempt,
): Outcome {
  return { kind: 'answered', answer: { status, reading, sentAt, receivedAt } };
}

function onlyWait({ retryAfter }: RateLimitReading): RateLimitReading {
  return retryAfter === undefined ? {} : { retryAfter };
}
