import type { ConfiguredLimit } from '../budget/bucket.ts';
import type { ReportedBudget } from './budget-groups.ts';
import { moreBinding } from './rate-headers.ts';

/** What is known of a bucket before an answer reports it. */
export interface DrawnBucket {
  /** Absent for a class's own bucket. */
  readonly name?: string | undefined;
  /** The limit that the settings state. */
  readonly configuredLimit?: ConfiguredLimit | undefined;
}

/** Rules by which a report is a bucket's, the surest first. */
const RULES: readonly ((report: ReportedBudget, bucket: DrawnBucket) => boolean)[] = [
  ({ name }, bucket) => name !== undefined && name === bucket.name,
  ({ limit, periodMs }, { configuredLimit }) =>
    configuredLimit !== undefined &&
    limit === configuredLimit.limit &&
    (periodMs === undefined || periodMs === configuredLimit.periodMs),
  ({ periodMs }, { configuredLimit }) =>
    configuredLimit !== undefined && periodMs === configuredLimit.periodMs,
];

/**
 * Finds the reports of buckets whose limits are stated: by name, else by size, else by period. Returns
 * the position of each bucket's report, in the order of the buckets; `undefined` for one without.
 */
export function reportsOf(
  budgets: readonly ReportedBudget[],
  buckets: readonly DrawnBucket[],
): (number | undefined)[] {
  const found: (number | undefined)[] = buckets.map(() => undefined);
  for (const isOf of RULES) {
    for (const [i, bucket] of buckets.entries()) {
      if (found[i] !== undefined) continue;
      const at = budgets.findIndex((report, place) => {
        return !found.includes(place) && isOf(report, bucket);
      });
      if (at !== -1) found[i] = at;
    }
  }
  return found;
}

/**
 * Returns the position of the bucket that refused a request: the one that the answer names as its
 * scope, else the one with nothing left. If there are several, it is the one with the latest reset. If
 * the request spent from one bucket, it is that, unless something is left of it; else it is not known.
 * A bucket from which the request spent nothing has no report.
 */
export function refusingBucket(
  reports: readonly (ReportedBudget | undefined)[],
  buckets: readonly DrawnBucket[],
  scope: string | undefined,
): number | undefined {
  const named = scope === undefined ? -1 : buckets.findIndex(({ name }) => name === scope);
  if (named !== -1) return named;
  const empty = reports.filter((report) => report?.remaining === 0);
  const [first] = empty;
  if (first !== undefined) return reports.indexOf(empty.reduce(latest, first));
  const [only, ...others] = reports.filter((report) => report !== undefined);
  if (only === undefined || others.length > 0 || only.remaining !== undefined) return undefined;
  return reports.indexOf(only);
}

function latest(
  first: ReportedBudget | undefined,
  second: ReportedBudget | undefined,
): ReportedBudget | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return moreBinding(first, second);
}
