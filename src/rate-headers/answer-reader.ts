import {
  makeRateHeaderReader,
  mostBinding,
  type HeaderRecord,
  type RateLimitReading,
} from './rate-headers.ts';
import type { RateHeaderRule } from './declared-headers.ts';
import type { ResetUnit } from './reset-unit.ts';

/**
 * Returns the most binding budget that an answer reports. The answer concerned `bucketId` and arrived
 * at `receivedAt`, on the ledger's clock. Never throws.
 */
export type ReadAnswer = (
  headers: HeaderRecord,
  bucketId: string,
  receivedAt: number,
) => RateLimitReading;

export interface AnswerReaderOptions {
  /** What is declared of the API's rate headers. */
  readonly rateHeaders: readonly RateHeaderRule[];
  /** What earlier answers showed of the unit of resets. */
  readonly unit: ResetUnit;
}

/** Makes the reader of one API's answers. */
export function makeAnswerReader({ rateHeaders, unit }: AnswerReaderOptions): ReadAnswer {
  const readRateLimits = makeRateHeaderReader(rateHeaders);
  return (headers, bucketId, receivedAt) => {
    const reading = mostBinding(readRateLimits(headers));
    const { reset: reported, ...rest } = reading;
    if (reported?.kind !== 'delay' || reported.isPlainNumber !== true) return reading;
    const reset = unit.read(`${bucketId} ${reading.name ?? ''}`, reported, receivedAt);
    return reset === undefined ? rest : { ...rest, reset };
  };
}
