import { writeSync } from 'node:fs';
import type { Sink } from './output.ts';

/** What a full pipe says, and what a full disk says: try again. */
const FULL = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR', 'EBUSY', 'ENOSPC']);

/**
 * Standard output as a sink that does not wait: asking for the stream makes Node put its pipe or
 * socket into non-blocking mode, and a write to that says EAGAIN where it would have stood still.
 * The stream itself is not written to, for it would keep what does not go out, without a bound.
 */
export function stdoutSink(): Sink {
  const { fd } = process.stdout;
  const never = new Int32Array(new SharedArrayBuffer(4));
  return {
    write(bytes) {
      try {
        return writeSync(fd, bytes);
      } catch (error) {
        return FULL.has(codeOf(error)) ? 'full' : 'gone';
      }
    },
    pause: (ms) => void Atomics.wait(never, 0, 0, ms),
  };
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
