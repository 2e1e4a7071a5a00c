import type { ReportedBudget } from './budget-groups.ts';
import { makeRateHeaderReader, type HeaderRecord, type RateHeaders } from './rate-headers.ts';
import type { RateHeaderRule } from './declared-headers.ts';
import type { ResetUnit } from './reset-unit.ts';

/**
 * Reads all that an answer of one API reports. The answer concerned `bucketId` and arrived at
 * `receivedAt`, on the ledger's clock. Never throws.
 */
export type ReadAnswer = (
  headers: HeaderRecord,
  bucketId: string,
  receivedAt: number,
) => RateHeaders;

export interface AnswerReaderOptions {
  /** What is declared of the API's rate headers. */
  readonly rateHeaders: readonly RateHeaderRule[];
  /** What earlier answers showed of the unit of resets. */
  readonly unit: ResetUnit;
}

/** Makes the reader of one API's answers. */
export function makeAnswerReader({ rateHeaders: rules, unit }: AnswerReaderOptions): ReadAnswer {
  const readRateHeaders = makeRateHeaderReader(rules);

  /** The report with its reset in the unit that earlier answers show. */
  function inUnit(report: ReportedBudget, bucketId: string, receivedAt: number): ReportedBudget {
    const { reset: reported, ...rest } = report;
    if (reported?.kind !== 'delay' || reported.isPlainNumber !== true) return report;
    const reset = unit.read(`${bucketId} ${report.name ?? ''}`, reported, receivedAt);
    return reset === undefined ? rest : { ...rest, reset };
  }

  return (headers, bucketId, receivedAt) => {
    const rateHeaders = readRateHeaders(headers);
    if (!rateHeaders.budgets.some(isPlain)) return rateHeaders;
    return {
      ...rateHeaders,
      budgets: rateHeaders.budgets.map((one) => inUnit(one, bucketId, receivedAt)),
    };
  };
}

function isPlain({ reset }: ReportedBudget): boolean {
  return reset?.kind === 'delay' && reset.isPlainNumber === true;
}
