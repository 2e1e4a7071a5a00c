import type { Clock } from './clock.ts';

const MINUTE_MS = 60_000;

/**
 * Makes the bound on a log line that many events may cause. The function returns whether the line may
 * be written now: at once, and then at most once a minute.
 */
export function makeOncePerMinute(clock: Pick<Clock, 'now'>): () => boolean {
  let quietUntil = Number.NEGATIVE_INFINITY;
  return () => {
    const now = clock.now();
    if (now < quietUntil) return false;
    quietUntil = now + MINUTE_MS;
    return true;
  };
}
