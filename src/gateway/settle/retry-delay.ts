import type { Random } from '../../util/clock.ts';

/** The maximum delay of the first retry; it doubles with each further one up to `last`. */
const MAX_DELAY_MS = { first: 250, last: 10_000 };

/**
 * The delay of the retry that follows the given attempt, in milliseconds. It has full jitter: attempts
 * that failed at the same time are not repeated at the same time.
 */
export function retryDelay(attempt: number, random: Random): number {
  return random() * Math.min(MAX_DELAY_MS.first * 2 ** (attempt - 1), MAX_DELAY_MS.last);
}
