import { createRequire } from 'node:module';

/** A time limit that passes only when a test lets it, however slow the machine is. */
export const TIME_LIMIT = '1h';
const TIME_LIMIT_MS = 3_600_000;

/** The timers of the HTTP client library. They have a clock of their own, which it exports for tests. */
const timers: unknown = createRequire(import.meta.url)('undici/lib/util/timers.js');

/**
 * Lets each time limit pass that the library has under way in this process: for the headers of an
 * answer, and between two parts of its body.
 */
export function passTimeLimits(): void {
  const tick: unknown = Reflect.get(Object(timers), 'tick');
  if (typeof tick !== 'function') throw new Error('expected undici to have timers for tests');
  tick.call(timers, TIME_LIMIT_MS);
}
