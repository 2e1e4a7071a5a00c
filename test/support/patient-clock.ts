import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';

const SLOWER = 100;

/**
 * The host's clock for a gateway whose time limits must not pass on a busy machine: those of a second or
 * more last a hundred times as long. For tests in which no call waits for its budget.
 */
export const patientClock: Clock = {
  ...systemClock,
  now: () => systemClock.now() / SLOWER,
  after: (delayMs, run) => systemClock.after(delayMs < 1000 ? delayMs : SLOWER * delayMs, run),
};
