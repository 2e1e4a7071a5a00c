import {
  makeRateHeaderReader,
  mostBinding,
  type HeaderRecord,
  type RateLimitReading,
} from './rate-headers.ts';
import { ResetUnit } from './reset-unit.ts';

/**
 * Returns the most binding budget that an answer reports. The answer concerned `bucketId` and arrived
 * at `receivedAt`, on the ledger's clock. Never throws.
 */
export type ReadAnswer = (
  headers: HeaderRecord,
  bucketId: string,
  receivedAt: number,
) => RateLimitReading;

/** Makes the reader of one API's answers. It remembers what earlier ones showed of their form. */
export function makeAnswerReader(): ReadAnswer {
  const readRateLimits = makeRateHeaderReader();
  const unit = new ResetUnit();
  return (headers, bucketId, receivedAt) => {
    const reading = mostBinding(readRateLimits(headers));
    const { reset: reported, ...rest } = reading;
    if (reported?.kind !== 'delay' || reported.isPlainNumber !== true) return reading;
    const reset = unit.read(`${bucketId} ${reading.name ?? ''}`, reported, receivedAt);
    return reset === undefined ? rest : { ...rest, reset };
  };
}
