import type { Clock } from '../util/clock.ts';
import { readableDuration } from './terminal-text.ts';

/** The bar is drawn at most once in this time. */
const REDRAW_MS = 100;
const WIDTH = 30;
const MIB = 1024 * 1024;

export interface ProgressOptions {
  readonly totalBytes: number;
  readonly clock: Pick<Clock, 'now'>;
  readonly write: (text: string) => void;
}

/** A progress bar on one line of a terminal. */
export interface Progress {
  /** Adds bytes that were read. */
  advance(bytes: number): void;
  /** Removes the bar, before other output. */
  clear(): void;
}

export function makeProgress({ totalBytes, clock, write }: ProgressOptions): Progress {
  const startedAt = clock.now();
  let drawnAt = startedAt;
  let drawn = false;
  let readBytes = 0;

  return {
    advance(bytes) {
      readBytes += bytes;
      const now = clock.now();
      if (now - drawnAt < REDRAW_MS) return;
      drawnAt = now;
      drawn = true;
      write(`\r\u001B[K${bar(readBytes, totalBytes, now - startedAt)}`);
    },
    clear() {
      if (drawn) write('\r\u001B[K');
      drawn = false;
    },
  };
}

function bar(readBytes: number, total: number, elapsedMs: number): string {
  // A file may grow while it is read.
  const share = total === 0 ? 1 : Math.min(1, readBytes / total);
  const filled = Math.round(share * WIDTH);
  const leftMs = share === 0 ? 0 : (elapsedMs / share) * (1 - share);
  const mibPerS = elapsedMs === 0 ? 0 : readBytes / MIB / (elapsedMs / 1000);
  return [
    `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}]`,
    `${Math.floor(share * 100)} %`,
    `${Math.floor(readBytes / MIB)} of ${Math.ceil(total / MIB)} MiB`,
    `${Math.round(mibPerS)} MiB/s`,
    `${readableDuration(leftMs)} left`,
  ].join('  ');
}
