import type { Random, Clock, Timer } from './clock.ts';

/** The longest delay a Node timer can hold; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The host's clocks and timers: the one place in the project that touches them. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs: number, run: () => void): Timer {
    // Node truncates fractions, and a timer that fires early finds nothing to do.
    const timer = setTimeout(run, Math.min(Math.ceil(Math.max(delayMs, 0)), MAX_DELAY_MS));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** The host's source of random, for jitter; never for secrets. */
export const systemRandom: Random = () => Math.random();
