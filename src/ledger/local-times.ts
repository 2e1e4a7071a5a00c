import type { OffsetBounds } from '../budget/observation.ts';
import type { Observation } from '../budget/observation.ts';

/** An observation all of whose times are on our clock: no other would mean the same elsewhere. */
export interface LocalObservation {
  readonly status: number;
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly resetAt: number | undefined;
  /** The API's own moment of the reset, which tells the order of overlapping answers. */
  readonly stamp: number | undefined;
  readonly retryAt: number | undefined;
  readonly sameWithinMs: number;
  readonly uncertaintyMs: number;
}

/** Converts an observation's reset to our clock, with what is known of the API's by now. */
export function localTimes(observation: Observation, offset: OffsetBounds): LocalObservation {
  const { basis, resetAt } = observation;
  const isOurs = basis === 'delay' || resetAt === undefined;
  return {
    status: observation.status,
    limit: observation.limit,
    remaining: observation.remaining,
    resetAt: isOurs ? resetAt : resetAt - offset.low,
    stamp: isOurs ? undefined : resetAt,
    retryAt: observation.retryAt,
    sameWithinMs: observation.sameWithinMs,
    uncertaintyMs: observation.uncertaintyMs,
  };
}
