import type { Attribution, Exchange } from '../draws/attribution.ts';
import { ticketsOf, type BucketName } from '../ledger/ledger.ts';
import { refusingBucket, reportsOf } from '../rate-headers/answer-by-bucket.ts';
import type { RateLimitReading, RateLimitReadings } from '../rate-headers/rate-headers.ts';
import type { Job } from './identify.ts';

/** What one answer says of the buckets of its request's ticket. */
export interface Attributed {
  /** By bucket, in their order; `undefined` for one from which the request spent nothing. */
  readonly readings: readonly (RateLimitReading | undefined)[];
  /** The position of the bucket that refused the request; `undefined` if that is unknown. */
  readonly refusing: number | undefined;
  /** Whether the request spends from other buckets than those of its ticket. */
  readonly isElsewhere: boolean;
}

/** When an answer arrived, and what else is known of it before its reports are attributed. */
export type Circumstances = Pick<Exchange, 'status' | 'refusal' | 'grantedAt' | 'receivedAt'>;

const NOTHING: RateLimitReading = {};

/**
 * Decides which report of an answer is which bucket's. Those of stated limits with a name are found by
 * what is stated; the rest is the class's, and `learn` decides which of its buckets.
 */
export function attribute(
  job: Job,
  { budgets, scope, cost, ...rest }: RateLimitReadings,
  circumstances: Circumstances,
  learn: (exchange: Exchange) => Attribution,
): Attributed {
  const tickets = ticketsOf(job.ticket);
  const buckets = tickets.map(({ bucket }) => bucket);
  const places = tickets.length === 1 ? [] : reportsOf(budgets, buckets);
  const isStated = (i: number): boolean => {
    const { name, belief } = buckets[i] ?? {};
    return name !== undefined && belief !== undefined;
  };
  const ofStated = places.filter((_, i) => isStated(i));
  const left = budgets.filter((_, place) => !ofStated.includes(place));
  const own = tickets.find((_, i) => !isStated(i));
  const learned =
    own === undefined
      ? undefined
      : learn({
          ...circumstances,
          className: job.rule.name,
          ownBucketId: ownIdOf(own.bucket),
          method: job.method,
          path: job.call.identity.path,
          draws: job.learned,
          reports: left,
          costsOne: own.cost === undefined || own.cost === 1,
        });
  const drawn = learned?.drawn.values();
  const readings = buckets.map((_, i): RateLimitReading | undefined => {
    if (isStated(i)) return budgets[places[i] ?? -1] ?? NOTHING;
    const place = drawn?.next().value;
    if (place === 'elsewhere') return undefined;
    return typeof place === 'number' ? (left[place] ?? NOTHING) : NOTHING;
  });
  const refusing = refusingBucket(readings, buckets, scope);
  // What else the answer says is of the bucket that refused, and its cost is that of the class.
  add(readings, refusing ?? readings.findIndex((reading) => reading !== undefined), rest);
  if (cost !== undefined && own !== undefined) add(readings, tickets.indexOf(own), { cost });
  const isElsewhere = readings.includes(undefined) || (learned?.others.length ?? 0) > 0;
  return { readings, refusing, isElsewhere };
}

function add(readings: (RateLimitReading | undefined)[], at: number, more: RateLimitReading): void {
  const reading = readings[at];
  if (reading !== undefined) readings[at] = { ...reading, ...more };
}

/** The id of the class's own bucket, for a bucket of the class. */
function ownIdOf({ id, name }: BucketName): string {
  return name === undefined ? id : id.slice(0, -`/${name}`.length);
}
