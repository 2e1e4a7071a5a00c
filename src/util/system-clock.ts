import type { Random, Clock, Timer } from './clock.ts';

/** The longest delay of a Node timer; one with a longer delay would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * The clocks and timers of the host. Other server code must use a `Clock`
 * (test/architecture.test.ts).
 */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs: number, run: () => void): Timer {
    // Rounded up, since Node truncates fractions and the timer must not fire early.
    const timer = setTimeout(run, Math.min(Math.ceil(Math.max(delayMs, 0)), MAX_DELAY_MS));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** The host's random numbers, for jitter; not for secrets. */
export const systemRandom: Random = () => Math.random();
