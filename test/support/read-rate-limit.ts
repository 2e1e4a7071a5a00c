import {
  makeRateHeaderReader,
  mostBinding,
  type HeaderRecord,
  type RateLimitReading,
} from '../../src/rate-headers/rate-headers.ts';

/** Reads the most binding budget of one answer, whatever answers came before it. */
export function readRateLimit(headers: HeaderRecord): RateLimitReading {
  return mostBinding(makeRateHeaderReader()(headers));
}
