import { constants, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Sink } from './log-output.ts';

/** What a full pipe says, and what a full disk says: try again. */
const FULL = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR', 'EBUSY', 'ENOSPC']);

/** Standard output as a sink that does not wait. */
export function stdoutSink(): Sink {
  const fd = nonBlockingStdout();
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

/**
 * A descriptor on which a write says EAGAIN where it would have stood still. Asking for the stream
 * makes Node put a pipe or a socket into that mode; the stream itself is not written to, for it
 * would keep what does not go out, without a bound. A terminal stays blocking there, and stands
 * still at Ctrl-S, so it is opened once more, in a mode of our own.
 */
function nonBlockingStdout(): number {
  const { fd } = process.stdout;
  if (!isatty(fd)) return fd;
  try {
    return openSync('/dev/stdout', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // Not ours to open again, as a terminal of another user's: it blocks, as terminals do.
    return fd;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
