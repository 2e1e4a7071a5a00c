import type { Basis, Observation, OffsetBounds } from '../budget/observation.ts';
import type { RateLimitReading, Reset } from './rate-headers.ts';

/** What one response told us, in the API's own terms. */
export interface Answer {
  readonly status: number;
  readonly reading: RateLimitReading;
  /** On our clock, in milliseconds: when the request began to be written. */
  readonly sentAt: number;
  /** On our clock, in milliseconds: when the response's headers had arrived. */
  readonly receivedAt: number;
}

/** Beyond this a reset is a mistake: the longest window known is a month. */
const MAX_AHEAD_MS = 40 * 24 * 3600_000;

/** Reads an answer against what is known of the API's clock. */
export function observe(answer: Answer, offset: OffsetBounds): Observation {
  const { reading, receivedAt } = answer;
  const { reset, retryAfter } = reading;
  const basis: Basis = reset?.kind ?? 'instant';
  const width = basis === 'instant' ? offset.high - offset.low : receivedAt - answer.sentAt;
  const resetAt = reset === undefined ? undefined : latest(reset, receivedAt);
  const aheadMs =
    resetAt === undefined ? 0 : resetAt - (basis === 'instant' ? offset.low : 0) - receivedAt;
  return {
    status: answer.status,
    ...(reading.limit === undefined ? {} : { limit: reading.limit }),
    ...(reading.remaining === undefined ? {} : { remaining: reading.remaining }),
    ...(resetAt === undefined || aheadMs > MAX_AHEAD_MS ? {} : { resetAt }),
    basis,
    sameWithinMs: basis === 'delay' ? (reset?.resolutionMs ?? 0) * 1.5 + width : 0,
    ...(retryAfter === undefined ? {} : { retryAt: retryMoment(retryAfter, receivedAt, offset) }),
    // A coarse value may have been rounded up as well: true up to a step before, used a step after.
    uncertaintyMs: width + 2 * (reset?.resolutionMs ?? 0),
    receivedAt,
  };
}

/** A coarse value was cut off or rounded up, we cannot know which: later is safe. */
function latest(reset: Reset, receivedAt: number): number {
  const at = reset.kind === 'instant' ? reset.atMs : receivedAt + reset.afterMs;
  return at + reset.resolutionMs;
}

/** Retry-After is an instruction, not a measurement: it is followed to the letter. */
function retryMoment(retryAfter: Reset, receivedAt: number, offset: OffsetBounds): number {
  return retryAfter.kind === 'instant'
    ? retryAfter.atMs - offset.low
    : receivedAt + retryAfter.afterMs;
}
