import type { Clock } from '../util/clock.ts';
import { readableDuration } from './terminal-text.ts';

/** How often the bar is drawn anew, at most. */
const EVERY_MS = 100;
const WIDTH = 30;
const MIB = 1024 * 1024;

export interface ProgressOptions {
  readonly totalBytes: number;
  readonly clock: Pick<Clock, 'now'>;
  readonly write: (text: string) => void;
}

/** How far reading has come, on one line of a terminal. */
export interface Progress {
  /** Some more bytes were read. */
  advance(bytes: number): void;
  /** Takes the bar away, for what is to be read to stand alone. */
  clear(): void;
}

export function makeProgress({ totalBytes, clock, write }: ProgressOptions): Progress {
  const startedAt = clock.now();
  let drawnAt = startedAt;
  let drawn = false;
  let done = 0;

  return {
    advance(bytes) {
      done += bytes;
      const now = clock.now();
      if (now - drawnAt < EVERY_MS) return;
      drawnAt = now;
      drawn = true;
      write(`\r\u001B[K${bar(done, totalBytes, now - startedAt)}`);
    },
    clear() {
      if (drawn) write('\r\u001B[K');
      drawn = false;
    },
  };
}

function bar(done: number, total: number, elapsedMs: number): string {
  // A file may grow while it is read.
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.round(share * WIDTH);
  const leftMs = share === 0 ? 0 : (elapsedMs / share) * (1 - share);
  const mibPerS = elapsedMs === 0 ? 0 : done / MIB / (elapsedMs / 1000);
  return [
    `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}]`,
    `${Math.floor(share * 100)} %`,
    `${Math.floor(done / MIB)} of ${Math.ceil(total / MIB)} MiB`,
    `${Math.round(mibPerS)} MiB/s`,
    `${readableDuration(leftMs)} left`,
  ].join('  ');
}
