import type { Basis, Observation, OffsetBounds } from '../budget/observation.ts';
import type { RateLimitReading } from './rate-headers.ts';
import type { Reset } from './reset-value.ts';

/** What one answer of the API reported, with times on the API's clock not yet converted. */
export interface Answer {
  readonly status: number;
  readonly reading: RateLimitReading;
  /** When the request began to be written, on our clock, in milliseconds. */
  readonly sentAt: number;
  /** When the answer's headers were received, on our clock, in milliseconds. */
  readonly receivedAt: number;
}

/** A limit of 0 reports no budget: there is none, or it is a limit of requests in flight. */
const NO_BUDGET: Pick<RateLimitReading, 'limit' | 'remaining'> = {};

/** A reset further ahead is a mistake of the API: the longest window known is a month. */
const MAX_AHEAD_MS = 40 * 24 * 3600_000;

/** Turns an answer into an observation, given the bounds of the API clock's offset. */
export function toObservation(answer: Answer, offset: OffsetBounds): Observation {
  const { reading, receivedAt } = answer;
  const { reset = resetByPeriod(reading), retryAfter } = reading;
  const { limit, remaining } = reading.limit === 0 ? NO_BUDGET : reading;
  const basis: Basis = reset?.kind ?? 'instant';
  const width = basis === 'instant' ? offset.high - offset.low : receivedAt - answer.sentAt;
  const resetAt = reset === undefined ? undefined : latestAt(reset, receivedAt);
  const aheadMs =
    resetAt === undefined ? 0 : resetAt - (basis === 'instant' ? offset.low : 0) - receivedAt;
  return {
    status: answer.status,
    ...(limit === undefined ? {} : { limit }),
    ...(remaining === undefined ? {} : { remaining }),
    ...(reading.cost === undefined ? {} : { cost: reading.cost }),
    ...(resetAt === undefined || aheadMs > MAX_AHEAD_MS ? {} : { resetAt }),
    basis,
    sameWithinMs:
      basis === 'delay' ? sameWithinMs(reading, reset) + width : (reset?.resolutionMs ?? 0),
    ...(retryAfter === undefined ? {} : { retryAt: retryAtOf(retryAfter, receivedAt, offset) }),
    // The API may have rounded up, so the reset may be a step earlier, and latestAt added a step.
    uncertaintyMs: width + 2 * (reset?.resolutionMs ?? 0),
    receivedAt,
  };
}

/**
 * The reset of an answer that reports a limit and the length of its period, but no reset: an operation
 * returns a period after it was spent. For a window that is the latest possible time.
 */
function resetByPeriod({ remaining, periodMs }: RateLimitReading): Reset | undefined {
  if (remaining === undefined || periodMs === undefined) return undefined;
  return { kind: 'delay', afterMs: periodMs, resolutionMs: 0 };
}

/** How far apart two reports of the same reset can be, besides the time that requests take. */
function sameWithinMs({ reset, periodMs = 0 }: RateLimitReading, used: Reset | undefined): number {
  // A reset that follows from the period differs for each answer, and orders none of them.
  return reset === undefined ? periodMs : (used?.resolutionMs ?? 0) * 1.5;
}

/** The latest time that a reset can mean: the API may have rounded it down or up. */
function latestAt(reset: Reset, receivedAt: number): number {
  const at = reset.kind === 'instant' ? reset.atMs : receivedAt + reset.afterMs;
  return at + reset.resolutionMs;
}

/** Retry-After is an instruction and not a measurement, so its resolution is not added. */
function retryAtOf(retryAfter: Reset, receivedAt: number, offset: OffsetBounds): number {
  return retryAfter.kind === 'instant'
    ? retryAfter.atMs - offset.low
    : receivedAt + retryAfter.afterMs;
}
