import { makeBucket, type Bucket } from '../../src/budget/bucket.ts';
import { addSlots } from '../../src/budget/slots.ts';
import { addToMax } from '../../src/budget/windowed-max.ts';

/** When it is, and the period of the limit. */
export const NOW = 1_000_000;
export const PERIOD = 60_000;

export interface Spent {
  readonly limit: number;
  readonly remaining: number;
  /** When the spent slots return, from now. */
  readonly returns?: readonly (readonly [inMs: number, count: number])[];
  /** When the reset returns all of them, from now. */
  readonly resetIn?: number;
}

/** A bucket of which one observation is known. */
export function meteredBucket({ limit, remaining, returns = [], resetIn }: Spent): Bucket {
  const bucket = makeBucket(NOW);
  bucket.phase = 'metered';
  bucket.limit = limit;
  bucket.isLimitStated = true;
  bucket.remaining = remaining;
  bucket.observations = 1;
  if (resetIn !== undefined) bucket.resetAt = NOW + resetIn;
  addToMax(bucket.observedPeriodMs, PERIOD, 64);
  for (const [inMs, count] of returns) addSlots(bucket.slots, NOW + inMs, count, PERIOD);
  return bucket;
}
