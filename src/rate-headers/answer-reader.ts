import { byBucket, type AnswerByBucket, type DrawnBucket } from './answer-by-bucket.ts';
import type { ReportedBudget } from './budget-groups.ts';
import {
  makeRateHeaderReader,
  mostBinding,
  type HeaderRecord,
  type RateLimitReading,
} from './rate-headers.ts';
import type { RateHeaderRule } from './declared-headers.ts';
import type { ResetUnit } from './reset-unit.ts';

/** Reads the answers of one API. Never throws. `receivedAt` is on the ledger's clock. */
export interface AnswerReader {
  /** Returns the most binding budget that an answer to a request of one bucket reports. */
  one(headers: HeaderRecord, bucketId: string, receivedAt: number): RateLimitReading;
  /** Returns what an answer says of each of the buckets from which its request spent. */
  each(
    headers: HeaderRecord,
    buckets: readonly (DrawnBucket & { readonly id: string })[],
    receivedAt: number,
  ): AnswerByBucket;
}

export interface AnswerReaderOptions {
  /** What is declared of the API's rate headers. */
  readonly rateHeaders: readonly RateHeaderRule[];
  /** What earlier answers showed of the unit of resets. */
  readonly unit: ResetUnit;
}

/** Makes the reader of one API's answers. */
export function makeAnswerReader({ rateHeaders, unit }: AnswerReaderOptions): AnswerReader {
  const readRateLimits = makeRateHeaderReader(rateHeaders);

  /** The report with its reset in the unit that earlier answers show. */
  function inUnit<Report extends ReportedBudget>(
    report: Report,
    bucketId: string,
    receivedAt: number,
  ): Omit<Report, 'reset'> & Pick<ReportedBudget, 'reset'> {
    const { reset: reported, ...rest } = report;
    if (reported?.kind !== 'delay' || reported.isPlainNumber !== true) return report;
    const reset = unit.read(`${bucketId} ${report.name ?? ''}`, reported, receivedAt);
    return reset === undefined ? rest : { ...rest, reset };
  }

  return {
    one: (headers, bucketId, receivedAt) =>
      inUnit(mostBinding(readRateLimits(headers)), bucketId, receivedAt),
    each(headers, buckets, receivedAt) {
      const all = readRateLimits(headers);
      const [{ id } = { id: '' }] = buckets;
      const budgets = all.budgets.map((budget) => inUnit(budget, id, receivedAt));
      return byBucket({ ...all, budgets }, buckets);
    },
  };
}
