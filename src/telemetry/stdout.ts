import { constants, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Sink } from './log-output.ts';

/** The error codes of a full pipe and of a full disk: a later write may succeed. */
const FULL = new Set(['EAGAIN', 'EWOULDBLOCK', 'EINTR', 'EBUSY', 'ENOSPC']);

/** Standard output as a sink whose writes do not block. */
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
 * A descriptor of standard output on which a write fails with EAGAIN instead of blocking.
 *
 * Reading `process.stdout` makes Node put a pipe or a socket into that mode. We do not write to the
 * stream itself, because it buffers without a bound. Node leaves a terminal blocking, and Ctrl-S
 * stops it, so a terminal is opened again, in non-blocking mode.
 */
function nonBlockingStdout(): number {
  const { fd } = process.stdout;
  if (!isatty(fd)) return fd;
  try {
    return openSync('/dev/stdout', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // It cannot be opened again, such as another user's terminal. It stays blocking.
    return fd;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
