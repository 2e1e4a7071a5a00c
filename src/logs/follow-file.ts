import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Clock } from '../util/clock.ts';

const CHUNK = 64 * 1024;
/** How often a file that gave nothing is looked at again. */
const EVERY_MS = 250;
/** How much of what is there already is shown when only what is new was asked for. */
const LAST_BYTES = 8 * 1024;
const LINE_END = Buffer.from('\n');

export interface FollowOptions {
  readonly path: string;
  readonly clock: Pick<Clock, 'after'>;
  /** Ends the following. */
  readonly signal: AbortSignal;
  /** `last`: only the last few lines of what is there, then what comes. */
  readonly from: 'start' | 'last';
}

/**
 * The bytes of a file as it grows, until the signal aborts. A file that is moved away and made anew
 * (rotation) is read to its end, then the new one from its start; one that became shorter
 * (truncation) is read from its start again. Where the bytes of one end, a line ends.
 *
 * Throws when the file cannot be opened at the beginning; that it is missing later is rotation.
 */
export async function* followFile(options: FollowOptions): AsyncGenerator<Buffer> {
  const { path, clock, signal, from } = options;
  let file = await open(path);
  try {
    let at = 0;
    if (from === 'last') {
      const start = Math.max(0, (await file.stat()).size - LAST_BYTES);
      at = await afterLineEnd(file, start);
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
      const next = await whatBecameOf(path, file, at);
      if (next === 'same') continue;
      if (next === 'shorter') {
        at = 0;
        yield LINE_END;
        continue;
      }
      // What was written between the last look and the rotation.
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

async function whatBecameOf(
  path: string,
  file: FileHandle,
  at: number,
): Promise<'same' | 'shorter' | FileHandle> {
  const ours = await file.stat();
  const there = await stat(path).catch(onlyMissing);
  // Between the two steps of a rotation there is no file of that name.
  if (there === undefined) return 'same';
  if (there.ino === ours.ino && there.dev === ours.dev) return ours.size < at ? 'shorter' : 'same';
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

/** The first place from `start` on at which a line begins. */
async function afterLineEnd(file: FileHandle, start: number): Promise<number> {
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
    const timer = clock.after(EVERY_MS, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
