import type { ConfiguredLimit } from '../budget/bucket.ts';
import type { ReportedBudget } from './budget-groups.ts';
import {
  moreBinding,
  mostBinding,
  type RateLimitReading,
  type RateLimitReadings,
} from './rate-headers.ts';

/** What is known of a bucket before an answer speaks of it. */
export interface DrawnBucket {
  /** Absent for a class's own bucket. */
  readonly name?: string | undefined;
  readonly belief?: ConfiguredLimit | undefined;
}

/** What one answer says of the buckets from which its request spent. */
export interface AnswerByBucket {
  /** By bucket, in their order; empty for a bucket of which the answer says nothing. */
  readonly readings: readonly RateLimitReading[];
  /** The position of the bucket that refused the request, if it did; `undefined` if that is unknown. */
  readonly refusing: number | undefined;
}

/**
 * Decides which of the reported budgets is which bucket's: by its name, else by its limit or period, and
 * the most binding of the rest is the first bucket's. The bucket that refuses is the one that the answer
 * names, else the one with nothing left; if there are several, the one with the latest reset.
 */
export function byBucket(
  { budgets, scope, cost, ...rest }: RateLimitReadings,
  buckets: readonly DrawnBucket[],
): AnswerByBucket {
  const reports = assign(budgets, buckets);
  const named = buckets.findIndex(({ name }) => name !== undefined && name === scope);
  const refusing = named === -1 ? emptied(reports) : named;
  const readings: RateLimitReading[] = [...reports];
  // The cost is the first bucket's; what else the answer says is of the one that refused.
  if (cost !== undefined) readings[0] = { ...readings[0], cost };
  const at = refusing ?? 0;
  readings[at] = { ...readings[at], ...rest };
  return { readings, refusing };
}

/** Rules by which a report is a bucket's, the surest first. */
const RULES: readonly ((report: ReportedBudget, bucket: DrawnBucket) => boolean)[] = [
  ({ name }, bucket) => name !== undefined && name === bucket.name,
  ({ limit, periodMs }, { belief }) =>
    belief !== undefined &&
    limit === belief.limit &&
    (periodMs === undefined || periodMs === belief.periodMs),
  ({ periodMs }, { belief }) => belief !== undefined && periodMs === belief.periodMs,
];

function assign(
  budgets: readonly ReportedBudget[],
  buckets: readonly DrawnBucket[],
): ReportedBudget[] {
  const left = new Set(budgets);
  const found = new Map<DrawnBucket, ReportedBudget>();
  for (const isOf of RULES) {
    for (const bucket of buckets) {
      if (found.has(bucket)) continue;
      const report = [...left].find((one) => isOf(one, bucket));
      if (report === undefined) continue;
      found.set(bucket, report);
      left.delete(report);
    }
  }
  const own = buckets.find(({ name }) => name === undefined) ?? buckets[0];
  const rest = mostBinding({
    budgets: [...left].filter((report) => !isNamedOther(report, buckets)),
  });
  if (own !== undefined && !found.has(own)) found.set(own, rest);
  return buckets.map((bucket) => found.get(bucket) ?? {});
}

/** Whether the report is of a bucket by its name, which has a better report already. */
function isNamedOther({ name }: ReportedBudget, buckets: readonly DrawnBucket[]): boolean {
  return name !== undefined && buckets.some((bucket) => bucket.name === name);
}

/** The position of the report with nothing left that has the latest reset. */
function emptied(reports: readonly ReportedBudget[]): number | undefined {
  const empty = reports.filter(({ remaining }) => remaining === 0);
  return empty.length === 0 ? undefined : reports.indexOf(empty.reduce(moreBinding));
}
