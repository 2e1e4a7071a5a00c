import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../../util/clock.ts';
import type { SendQueue } from './send-queue.ts';

/**
 * Calls `onStalled` when a caller has read nothing of an answer for a time. Returns the function
 * that ends the watch.
 */
export type WatchReading = (
  outgoing: ServerResponse,
  limits: ReadingLimits,
  onStalled: () => void,
) => () => void;

/** When a caller counts as one that does not read. */
export interface ReadingLimits {
  /** How long the caller may read nothing. */
  readonly idleMs: number;
  /** Bytes in a second that count as reading; 0: any byte does. */
  readonly leastRate: number;
}

export interface ReadingWatchDependencies {
  readonly clock: Clock;
  readonly sendQueue: SendQueue;
}

const FIRST_CHECK_MS = 1000;

/**
 * Makes the watch over callers that read slowly. A watch begins when Node's buffer is full, and its
 * owner ends it when the buffer is empty again. In between, the operating system may take nothing
 * for minutes although the caller reads all the time, so the bytes that it still holds are compared
 * four times in each idle timeout. Where it does not report them, only the buffer counts.
 */
export function makeWatchReading({ clock, sendQueue }: ReadingWatchDependencies): WatchReading {
  return function watchReading(outgoing, { idleMs, leastRate }, onStalled) {
    const everyMs = idleMs / 4;
    const leastBytes = Math.max(1, (leastRate * everyMs) / 1000);
    let isOver = false;
    let readAt = clock.now();
    let lastQueued: number | undefined;
    // Most callers have emptied the buffer long before.
    let timer: Timer = clock.after(Math.min(everyMs, FIRST_CHECK_MS), check);

    function check(): void {
      timer = clock.after(everyMs, check);
      const { socket } = outgoing;
      void (socket === null ? Promise.resolve(undefined) : sendQueue(socket)).then(compare);
    }

    function compare(queued: number | undefined): void {
      if (isOver) return;
      const now = clock.now();
      if (queued !== undefined && Math.abs(queued - (lastQueued ?? queued)) >= leastBytes) {
        readAt = now;
      }
      lastQueued = queued;
      if (now - readAt < idleMs) return;
      stop();
      onStalled();
    }

    function stop(): void {
      isOver = true;
      timer.cancel();
    }

    return stop;
  };
}
