import type { ServerResponse } from 'node:http';
import type { RequestMemory } from '../../upstream/request-memory.ts';
import type { Call } from '../call.ts';
import { addressOf } from '../connections/caller-address.ts';
import type { WatchReading } from '../connections/reading-watch.ts';
import { requestBytes } from '../connections/request-bytes.ts';

/** Watches an answer of `bytes` bytes that was written as a whole, until its caller has read it. */
export type WatchUnread = (call: Call, bytes: number) => void;

export interface UnreadAnswersDependencies {
  readonly memory: RequestMemory;
  readonly watchReading: WatchReading;
  readonly idleTimeoutMs: number;
  /** Bytes in a second; 0: any rate. */
  readonly leastRate: number;
}

/**
 * An answer that is complete holds no socket to the API any more, but it stays in memory with its
 * request until its caller has read it. Until then both count against the memory of waiting requests.
 * The connection is closed if that memory is needed, or when the answer is not read at the least rate
 * after the idle timeout.
 *
 * The operating system has buffers for each connection, of up to some megabytes. A caller can fill
 * them, so the size of an answer does not show whether it stays here.
 */
export function makeWatchUnread(dependencies: UnreadAnswersDependencies): WatchUnread {
  const { memory, watchReading, idleTimeoutMs, leastRate } = dependencies;

  function watch({ incoming, outgoing, countedFor }: Call, bytes: number): void {
    if (isTaken(outgoing)) return;
    const close = (): void => void outgoing.destroy();
    const owner = countedFor ?? addressOf(incoming.socket);
    const reservation = memory.reserve(owner, 'unread', { evict: close });
    const idleMs = idleTimeoutMs + Math.ceil(bytes / leastRate) * 1000;
    const stopWatch =
      leastRate === 0 ? undefined : watchReading(outgoing, { idleMs, leastRate }, close);
    const stop = (): void => {
      stopWatch?.();
      reservation.release();
    };
    outgoing.once('finish', stop).once('close', stop);
    reservation.grow(bytes + requestBytes(incoming));
  }

  return function watchUnread(call, bytes) {
    if (isTaken(call.outgoing)) return;
    // With TLS, the operating system takes an answer a moment later.
    setImmediate(() => watch(call, bytes));
  };
}

/** Whether the operating system has all of it, or the connection is closed. */
function isTaken({ writableLength, destroyed }: ServerResponse): boolean {
  return writableLength === 0 || destroyed;
}
