import type { OffsetBounds } from '../core/clock-offset.ts';
import type { Observation } from '../core/observation.ts';

/** An observation all of whose times are on our clock: no other would mean the same elsewhere. */
export interface LocalObservation extends Omit<Observation, 'basis'> {
  /** The API's own moment of the reset, which tells the order of overlapping answers. */
  readonly stamp: number | undefined;
}

/** Converts an observation's reset to our clock, with what is known of the API's by now. */
export function localTimes(observation: Observation, offset: OffsetBounds): LocalObservation {
  const { basis, resetAt, ...rest } = observation;
  if (resetAt === undefined) return { ...rest, stamp: undefined };
  if (basis === 'delay') return { ...rest, resetAt, stamp: undefined };
  return { ...rest, resetAt: resetAt - offset.low, stamp: resetAt };
}
