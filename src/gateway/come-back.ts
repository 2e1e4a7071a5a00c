/** From this much patience on, there is a whole second that lies well within it. */
const LEAST_PATIENCE_MS = 1000;

/**
 * How long a caller that was shed because its turn comes too late should stay away, in milliseconds.
 *
 * A budget often comes back in one go, and those who wait take it. Who came back only then would
 * find it spent and be shed again, every time. So a caller that is ready to wait is told to come
 * back while its turn is still ahead, by half of what it would wait: in whole seconds, as Retry-After
 * says it, that is within its patience on either side.
 *
 * `etaMs` is when its turn comes, `patienceMs` how long it would wait; both from now.
 */
export function comeBackInMs(etaMs: number, patienceMs: number): number {
  if (patienceMs < LEAST_PATIENCE_MS) return etaMs;
  return Math.round((etaMs - patienceMs / 2) / 1000) * 1000;
}
