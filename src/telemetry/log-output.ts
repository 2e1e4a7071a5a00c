import type { DestinationStream } from 'pino';
import type { Clock, Timer } from '../util/clock.ts';

/** A destination of bytes whose writes do not block. */
export interface Sink {
  /** How many bytes were written; `full`: none now, `gone`: none ever again. */
  write(bytes: Uint8Array): number | 'full' | 'gone';
  /** Blocks the process for this long; for the last flush only. */
  pause(ms: number): void;
}

/** The output of the log. Its memory is bounded, and writing to it never blocks the gateway. */
export interface LogOutput extends DestinationStream {
  /** How many lines were dropped, because the reader stalled for too long or closed. */
  readonly linesLost: number;
  /**
   * Sets a listener that receives the number of lines lost since its last call. It is called at most
   * once per minute, and only once lines can be written again.
   */
  onLost(listener: (lines: number) => void): void;
  /** Writes all waiting lines now. Gives up when the reader accepts nothing for a second. */
  flushSync(): void;
  /** Flushes, and stops all timers. Lines that are written later are lost. */
  close(): void;
}

export interface LogOutputOptions {
  readonly sink: Sink;
  readonly clock: Clock;
  /** How many characters may wait for the reader; further lines are lost. */
  readonly maxWaiting?: number;
}

/** Lines are batched up to this many characters, or for this long, before they are written. */
const BATCH_CHARACTERS = 32_768;
const BATCH_MS = 100;
/** A pipe does not report when it has room again, so a full one is polled at this interval. */
const RETRY_MS = { first: 2, last: 50 };
const MAX_WAITING = 16 * 1024 * 1024;
const REPORT_LOST_EVERY_MS = 60_000;
const PAUSE_MS = 10;
/** A flush gives up after 100 pauses in a row without progress, and after 500 pauses in all. */
const MAX_PAUSES = { idle: 100, all: 500 };

interface Chunk {
  readonly text: string;
  readonly lines: number;
}

/**
 * Batches lines and writes each batch in one call.
 *
 * While the reader accepts nothing, lines wait, up to a bound. Beyond it, new lines are dropped whole
 * and counted, and the count is reported once lines can be written again. The oldest lines are
 * kept, because they show how the trouble began.
 */
export function makeLogOutput(options: LogOutputOptions): LogOutput {
  const { sink, clock, maxWaiting = MAX_WAITING } = options;
  const chunks: Chunk[] = [];
  /** The rest of the chunk that is being written. */
  let head: { readonly bytes: Uint8Array; readonly lines: number } | undefined;
  let batch = '';
  let batchLines = 0;
  let waiting = 0;
  let retryMs = RETRY_MS.first;
  let timer: Timer | undefined;
  let state: 'open' | 'full' | 'gone' | 'closed' = 'open';

  let lost = 0;
  let reported = 0;
  let reportedAt = Number.NEGATIVE_INFINITY;
  let reportTimer: Timer | undefined;
  let onLost: ((lines: number) => void) | undefined;

  function endBatch(): void {
    if (batch === '') return;
    chunks.push({ text: batch, lines: batchLines });
    batch = '';
    batchLines = 0;
  }

  /** Writes waiting lines until none is left, or the sink accepts no more. */
  function writeWaiting(): void {
    endBatch();
    for (;;) {
      head ??= nextHead();
      if (head === undefined) return;
      const written = sink.write(head.bytes);
      if (written === 'gone') return loseAll();
      if (written === 'full') {
        state = 'full';
        return;
      }
      state = 'open';
      retryMs = RETRY_MS.first;
      const { bytes, lines } = head;
      head = written < bytes.length ? { bytes: bytes.subarray(written), lines } : undefined;
    }
  }

  function nextHead(): typeof head {
    const chunk = chunks.shift();
    if (chunk === undefined) return undefined;
    waiting -= chunk.text.length;
    return { bytes: Buffer.from(chunk.text), lines: chunk.lines };
  }

  /** The reader has closed: all lines are lost, and the gateway continues without a log. */
  function loseAll(): void {
    state = 'gone';
    lost += (head?.lines ?? 0) + batchLines;
    for (const { lines } of chunks) lost += lines;
    head = undefined;
    chunks.length = 0;
    batch = '';
    batchLines = 0;
    waiting = 0;
  }

  function schedule(): void {
    if (timer !== undefined || state === 'gone' || state === 'closed') return;
    if (state !== 'full' && batch === '') return;
    timer = clock.after(state === 'full' ? retryMs : BATCH_MS, () => {
      timer = undefined;
      if (state === 'full') retryMs = Math.min(retryMs * 2, RETRY_MS.last);
      writeWaiting();
      reportLost();
      schedule();
    });
  }

  /** Reports lost lines, in a line that is queued like any other. */
  function reportLost(): void {
    if (lost === reported || state !== 'open') return;
    if (onLost === undefined || reportTimer !== undefined) return;
    const dueMs = reportedAt + REPORT_LOST_EVERY_MS - clock.now();
    if (dueMs > 0) {
      reportTimer = clock.after(dueMs, () => {
        reportTimer = undefined;
        reportLost();
      });
      return;
    }
    reportNow();
  }

  function reportNow(): void {
    const lines = lost - reported;
    reported = lost;
    reportedAt = clock.now();
    onLost?.(lines);
  }

  function flushSync(): void {
    if (state === 'closed') return;
    let idle = 0;
    let before = Number.NaN;
    for (let all = 0; ; all++) {
      writeWaiting();
      if (state !== 'full') break;
      const left = waiting + (head?.bytes.length ?? 0);
      idle = left === before ? idle + 1 : 0;
      if (idle >= MAX_PAUSES.idle || all >= MAX_PAUSES.all) return;
      before = left;
      sink.pause(PAUSE_MS);
    }
    if (lost === reported || state !== 'open') return;
    reportNow();
    writeWaiting();
  }

  return {
    get linesLost() {
      return lost;
    },
    onLost(listener) {
      onLost = listener;
    },
    write(line) {
      if (state === 'gone' || state === 'closed' || waiting + line.length > maxWaiting) {
        lost++;
        return;
      }
      batch += line;
      batchLines++;
      waiting += line.length;
      if (batch.length >= BATCH_CHARACTERS) {
        if (state === 'full') endBatch();
        else writeWaiting();
      }
      schedule();
    },
    flushSync,
    close() {
      flushSync();
      timer?.cancel();
      reportTimer?.cancel();
      if (state !== 'gone') state = 'closed';
    },
  };
}
