import type { Attribution, Exchange } from '../draws/attribution.ts';
import { ticketsOf, type BucketName } from '../ledger/ledger.ts';
import { refusingBucket, reportsOf } from '../rate-headers/answer-by-bucket.ts';
import type { RateLimitReading, RateLimitReadings } from '../rate-headers/rate-headers.ts';
import type { Job } from './identify.ts';

/** What one answer says of the buckets from which its request spent. */
export interface Attributed {
  /** By bucket of the ticket, in their order; `undefined` for one from which it spent nothing. */
  readonly readings: readonly (RateLimitReading | undefined)[];
  /** Buckets of the class from which it spent as well, although its ticket does not have them. */
  readonly unexpected: readonly { readonly name: string; readonly reading: RateLimitReading }[];
  /**
   * The position of the bucket that refused the request, in `readings` and then `unexpected`;
   * `undefined` if that is unknown.
   */
  readonly refusing: number | undefined;
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
  const ofStated = new Set(places.filter((_, i) => isStated(i)));
  const left = budgets.filter((_, place) => !ofStated.has(place));
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
  const unexpected = learned?.others ?? [];
  const all = [
    ...readings,
    ...unexpected.map(({ reportAt }) => (reportAt === undefined ? NOTHING : left[reportAt])),
  ];
  const refusing = refusingBucket(all, [...buckets, ...unexpected], scope);
  // What else the answer says is of the bucket that refused, and its cost is that of the class.
  add(all, refusing ?? all.findIndex((reading) => reading !== undefined), rest);
  if (cost !== undefined && own !== undefined) add(all, tickets.indexOf(own), { cost });
  return {
    readings: all.slice(0, tickets.length),
    unexpected: unexpected.map(({ name }, i) => ({
      name,
      reading: all[tickets.length + i] ?? NOTHING,
    })),
    refusing,
  };
}

function add(readings: (RateLimitReading | undefined)[], at: number, more: RateLimitReading): void {
  const reading = readings[at];
  if (reading !== undefined) readings[at] = { ...reading, ...more };
}

/** The id of the class's own bucket, for a bucket of the class. */
function ownIdOf({ id, name }: BucketName): string {
  return name === undefined ? id : id.slice(0, -`/${name}`.length);
}
