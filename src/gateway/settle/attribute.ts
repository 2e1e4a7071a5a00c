import type { Attribution, Exchange } from '../../draws/attribution.ts';
import type { LearnedDraws } from '../../draws/learned-draws.ts';
import { costPointer } from '../../http/classify.ts';
import { ticketsAtApi, type BucketName, type Ticket } from '../../ledger/ledger.ts';
import { refusingBucket, reportsOf } from '../../rate-headers/answer-by-bucket.ts';
import type { ReportedBudget } from '../../rate-headers/budget-groups.ts';
import {
  moreBinding,
  type RateLimitReading,
  type RateHeaders,
} from '../../rate-headers/rate-headers.ts';
import type { Job } from '../identify.ts';

/** What one answer says of the buckets from which its request spent. */
export interface Attributed {
  /**
   * By bucket of the ticket at the API, in their order; `undefined` for one from which it spent nothing.
   */
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
const NONE: Attributed['unexpected'] = [];

/**
 * Decides which report of an answer is which bucket's. The reports of named limits in the settings are
 * found by what the settings state. The others are the class's, and `learned` decides which bucket's.
 */
export function attribute(
  job: Job,
  rateHeaders: RateHeaders,
  circumstances: Circumstances,
  learned: Pick<LearnedDraws, 'learn'>,
): Attributed {
  const { ticket } = job;
  const { budgets } = rateHeaders;
  if (ticket.others === undefined && !isStatedLimit(ticket.bucket)) {
    const attribution = learned.learn(exchangeOf(job, ticket, rateHeaders, budgets, circumstances));
    return (
      attributeToOne(rateHeaders, circumstances, attribution) ??
      attributeToAll(
        { tickets: [ticket], places: [], ofClass: budgets, own: ticket },
        rateHeaders,
        attribution,
      )
    );
  }
  const tickets = ticketsAtApi(ticket);
  const buckets = tickets.map(({ bucket }) => bucket);
  const places =
    tickets.length === 1 ? [onlyReport(budgets, buckets)] : reportsOf(budgets, buckets);
  const ofStated = new Set(places.filter((_, i) => isStatedLimit(buckets[i])));
  const ofClass = budgets.filter((_, place) => !ofStated.has(place));
  const own = tickets[ownPosition(ticket)];
  const attribution =
    own === undefined
      ? undefined
      : learned.learn(exchangeOf(job, own, rateHeaders, ofClass, circumstances));
  return attributeToAll({ tickets, places, ofClass, own }, rateHeaders, attribution);
}

/**
 * Attributes an answer to the only bucket of its request, as most are, at next to no cost. Returns
 * `undefined` if the answer refuses, spends elsewhere, or says more than its reports.
 */
function attributeToOne(
  rateHeaders: RateHeaders,
  { refusal }: Circumstances,
  { drawn, others }: Attribution,
): Attributed | undefined {
  const place = drawn[0];
  if (place === 'elsewhere' || others.length > 0 || refusal !== undefined) return undefined;
  const { retryAfter, cost, doubtful } = rateHeaders;
  if (retryAfter !== undefined || cost !== undefined || doubtful !== undefined) return undefined;
  const report = typeof place === 'number' ? rateHeaders.budgets[place] : undefined;
  return { readings: [report ?? NOTHING], unexpected: NONE, refusing: undefined };
}

/** The tickets of a request, and the reports of its answer. */
interface Places {
  readonly tickets: readonly Ticket[];
  /** The positions of the reports of the tickets' buckets, as far as what is stated shows them. */
  readonly places: readonly (number | undefined)[];
  /** The reports of the class. */
  readonly ofClass: readonly ReportedBudget[];
  /** The first ticket at a bucket of the class. */
  readonly own: Ticket | undefined;
}

/** Attributes an answer to all buckets of its request, and to those from which it spent as well. */
function attributeToAll(
  { tickets, places, ofClass, own }: Places,
  { budgets, scope, cost, ...rest }: RateHeaders,
  attribution: Attribution | undefined,
): Attributed {
  const buckets = tickets.map(({ bucket }) => bucket);
  const drawn = attribution?.drawn.values();
  const readings = buckets.map((bucket, i): RateLimitReading | undefined => {
    if (isStatedLimit(bucket)) return budgets[places[i] ?? -1] ?? NOTHING;
    const place = drawn?.next().value;
    if (place === 'elsewhere') return undefined;
    return typeof place === 'number' ? (ofClass[place] ?? NOTHING) : NOTHING;
  });
  const unexpected = attribution?.others ?? [];
  const all = [
    ...readings,
    ...unexpected.map(({ reportAt }) => (reportAt === undefined ? NOTHING : ofClass[reportAt])),
  ];
  const refusing = refusingBucket(all, [...buckets, ...unexpected], scope ?? attribution?.refusing);
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

/** Whether a bucket is that of a limit that the settings state under a name. */
export function isStatedLimit(bucket: BucketName | undefined): boolean {
  return bucket?.name !== undefined && bucket.configuredLimit !== undefined;
}

/** The report of the only bucket, which has a stated limit: any report is one of it. */
function onlyReport(
  budgets: readonly ReportedBudget[],
  buckets: readonly BucketName[],
): number | undefined {
  const [stated] = reportsOf(budgets, buckets);
  if (stated !== undefined || budgets.length === 0) return stated;
  return budgets.indexOf(budgets.reduce(moreBinding));
}

/** What is learned from: an answer, with the reports of its class. `own` is a ticket of the class. */
function exchangeOf(
  { rule, method, call, learned }: Job,
  own: Ticket,
  { cost = own.cost ?? 1 }: RateHeaders,
  reports: readonly ReportedBudget[],
  { status, refusal, grantedAt, receivedAt }: Circumstances,
): Exchange {
  return {
    className: rule.name,
    ownBucketId: ownIdOf(own.bucket),
    method,
    path: call.identity.path,
    draws: learned,
    status,
    refusal,
    reports,
    // A cost in the body is not known yet.
    costsOne: cost === 1 && costPointer(rule) === undefined,
    grantedAt,
    receivedAt,
  };
}

/** Adds what the request did cost to what the answer says of the class's bucket. */
export function withCost(attributed: Attributed, ticket: Ticket, cost: number): Attributed {
  const readings = [...attributed.readings];
  add(readings, ownPosition(ticket), { cost });
  return { ...attributed, readings };
}

/** The position of the ticket at the class's own bucket, else of the first one at a bucket of the class; -1 if there is none. */
function ownPosition(ticket: Ticket): number {
  const buckets = ticketsAtApi(ticket).map(({ bucket }) => bucket);
  const at = buckets.findIndex(({ name }) => name === undefined);
  return at === -1 ? buckets.findIndex((bucket) => !isStatedLimit(bucket)) : at;
}

function add(readings: (RateLimitReading | undefined)[], at: number, more: RateLimitReading): void {
  const reading = readings[at];
  if (reading !== undefined) readings[at] = { ...reading, ...more };
}

/** The id of the class's own bucket, for a bucket of the class. */
function ownIdOf({ id, name }: BucketName): string {
  return name === undefined ? id : id.slice(0, -`~${name}`.length);
}
