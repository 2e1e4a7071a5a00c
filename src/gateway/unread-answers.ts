import type { ServerResponse } from 'node:http';
import type { RequestMemory } from '../upstream/request-memory.ts';
import type { Call } from './call.ts';
import type { WatchReading } from './reading-watch.ts';

/** Watches an answer of `bytes` bytes that was written as a whole, until its caller has read it. */
export type WatchUnread = (call: Call, bytes: number) => void;

export interface UnreadAnswersDependencies {
  readonly memory: RequestMemory;
  readonly watchReading: WatchReading;
  readonly idleTimeoutMs: number;
  /** Bytes in a second. */
  readonly leastRate: number;
}

/** Operating systems take this much without waiting for the caller. */
const ALWAYS_TAKEN_BYTES = 16 * 1024;

/**
 * An answer that is complete holds no socket to the API any more, but it stays in memory until its
 * caller has read it. Until then it counts against the memory of waiting requests. Its connection is
 * closed if that memory is needed, or when it is not read at the least rate after the idle timeout.
 */
export function makeWatchUnread(dependencies: UnreadAnswersDependencies): WatchUnread {
  const { memory, watchReading, idleTimeoutMs, leastRate } = dependencies;
  return function watchUnread({ outgoing, countedFor = '' }, bytes) {
    if (bytes <= ALWAYS_TAKEN_BYTES || isRead(outgoing)) return;
    const close = (): void => void outgoing.destroy();
    const reservation = memory.reserve(countedFor, 'unread', { evict: close });
    const readingMs = leastRate === 0 ? 0 : (bytes / leastRate) * 1000;
    const limits = { idleMs: idleTimeoutMs + readingMs, leastRate };
    const stopWatch = watchReading(outgoing, limits, close);
    const stop = (): void => {
      stopWatch();
      reservation.release();
    };
    outgoing.once('finish', stop).once('close', stop);
    reservation.grow(bytes);
  };
}

/** Whether the operating system has all of it, or the connection is closed. */
function isRead({ writableFinished, destroyed }: ServerResponse): boolean {
  return writableFinished || destroyed;
}
