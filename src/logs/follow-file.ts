import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Clock } from '../util/clock.ts';

const CHUNK = 64 * 1024;
/** A file without new bytes is polled at this interval. */
const POLL_MS = 250;
/** How many of the existing bytes are read with `from: 'last'`. */
const LAST_BYTES = 8 * 1024;
const LINE_END = Buffer.from('\n');

export interface FollowOptions {
  readonly path: string;
  readonly clock: Pick<Clock, 'after'>;
  /** Ends the reading. */
  readonly signal: AbortSignal;
  /** `last`: only the last few existing lines, then the new ones. */
  readonly from: 'start' | 'last';
}

/**
 * Yields the bytes of a file as it grows, until the signal aborts.
 *
 * Rotation: when another file takes the name, the old one is read to its end, then the new one from
 * its start. Truncation: a file that became shorter is read from its start again. In both cases a
 * line end is yielded between them.
 *
 * Throws when the file cannot be opened at the beginning. If it is missing later, a rotation is
 * under way.
 */
export async function* followFile(options: FollowOptions): AsyncGenerator<Buffer> {
  const { path, clock, signal, from } = options;
  let file = await open(path);
  try {
    let at = 0;
    if (from === 'last') {
      const start = Math.max(0, (await file.stat()).size - LAST_BYTES);
      at = await nextLineStart(file, start);
    }
    while (!signal.aborted) {
      for (;;) {
        const chunk = await readAt(file, at);
        if (chunk === undefined) break;
        at += chunk.length;
        yield chunk;
        if (signal.aborted) return;
      }
      await pause(clock, signal);
      const next = await checkFile(path, file, at);
      if (next === 'same') continue;
      if (next === 'shorter') {
        at = 0;
        yield LINE_END;
        continue;
      }
      // Reads what was written between the last poll and the rotation.
      for (
        let chunk = await readAt(file, at);
        chunk !== undefined;
        chunk = await readAt(file, at)
      ) {
        at += chunk.length;
        yield chunk;
      }
      await file.close();
      file = next;
      at = 0;
      yield LINE_END;
    }
  } finally {
    await file.close();
  }
}

/** Whether the name still stands for the open file; otherwise the new file with that name. */
async function checkFile(
  path: string,
  file: FileHandle,
  at: number,
): Promise<'same' | 'shorter' | FileHandle> {
  const opened = await file.stat();
  const named = await stat(path).catch(onlyMissing);
  // Between the two steps of a rotation there is no file with that name.
  if (named === undefined) return 'same';
  if (named.ino === opened.ino && named.dev === opened.dev) {
    return opened.size < at ? 'shorter' : 'same';
  }
  return (await open(path).catch(onlyMissing)) ?? 'same';
}

function onlyMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}

async function readAt(file: FileHandle, at: number): Promise<Buffer | undefined> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, at);
  return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead);
}

/** The offset of the first line that starts at or after `start`. */
async function nextLineStart(file: FileHandle, start: number): Promise<number> {
  if (start === 0) return 0;
  for (let at = start; ;) {
    const chunk = await readAt(file, at);
    if (chunk === undefined) return at;
    const end = chunk.indexOf(LINE_END);
    if (end !== -1) return at + end + 1;
    at += chunk.length;
  }
}

function pause(clock: Pick<Clock, 'after'>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      resolve();
    };
    const timer = clock.after(POLL_MS, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
