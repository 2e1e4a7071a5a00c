import type { DestinationStream } from 'pino';
import type { Clock, Timer } from '../util/clock.ts';

/** Where bytes go, by a call that never waits. */
export interface Sink {
  /** How many bytes were taken; `full`: none now; `gone`: none ever again. */
  write(bytes: Uint8Array): number | 'full' | 'gone';
  /** Stands still for this long; for the last moments of the process only. */
  pause(ms: number): void;
}

/** A log's way out, which costs a bounded amount of memory and never makes the gateway wait. */
export interface Output extends DestinationStream {
  /** Lines that nobody will read, because the reader stalled too long or went away. */
  readonly linesLost: number;
  /**
   * Sets what to call with the number of lines lost since the last call, at most once a minute and
   * only while lines get through again.
   */
  onLost(say: (lines: number) => void): void;
  /** Writes what waits, now; gives up when the reader takes nothing for a second. */
  flushSync(): void;
  /** Flushes and starts no timer any more; what comes later is lost. */
  close(): void;
}

export interface OutputOptions {
  readonly sink: Sink;
  readonly clock: Clock;
  /** Characters that may wait for the reader; lines beyond them are lost. */
  readonly mostWaiting?: number;
}

/** Lines are gathered up to this many characters, or for this long, before they are written. */
const GATHER = 32_768;
const GATHER_MS = 100;
/** A pipe tells nobody when it has room again, so a full one is tried again after this. */
const RETRY_MS = { first: 2, last: 50 };
const MOST_WAITING = 16 * 1024 * 1024;
const SAY_LOST_EVERY_MS = 60_000;
const PAUSE_MS = 10;
/** A last flush gives up after so many pauses in which nothing was taken, and after so many at all. */
const MOST_PAUSES = { idle: 100, all: 500 };

interface Chunk {
  readonly text: string;
  readonly lines: number;
}

/**
 * Gathers lines and writes them in as few calls as there are. While the reader takes nothing they
 * wait, up to a bound; what comes beyond it is dropped as whole lines, counted, and told when lines
 * get through again. The oldest are kept: they say how the trouble began.
 */
export function makeOutput(options: OutputOptions): Output {
  const { sink, clock, mostWaiting = MOST_WAITING } = options;
  const chunks: Chunk[] = [];
  /** The chunk that is being written, in bytes. */
  let head: { readonly bytes: Uint8Array; readonly lines: number } | undefined;
  let gathered = '';
  let gatheredLines = 0;
  let waiting = 0;
  let retryMs = RETRY_MS.first;
  let timer: Timer | undefined;
  let state: 'open' | 'full' | 'gone' | 'closed' = 'open';

  let lost = 0;
  let said = 0;
  let saidAt = Number.NEGATIVE_INFINITY;
  let sayTimer: Timer | undefined;
  let say: ((lines: number) => void) | undefined;

  function gather(): void {
    if (gathered === '') return;
    chunks.push({ text: gathered, lines: gatheredLines });
    gathered = '';
    gatheredLines = 0;
  }

  /** Writes until nothing waits or the sink takes no more. */
  function pump(): void {
    gather();
    for (;;) {
      head ??= nextHead();
      if (head === undefined) return;
      const took = sink.write(head.bytes);
      if (took === 'gone') return lose();
      if (took === 'full') {
        state = 'full';
        return;
      }
      state = 'open';
      retryMs = RETRY_MS.first;
      const { bytes, lines } = head;
      head = took < bytes.length ? { bytes: bytes.subarray(took), lines } : undefined;
    }
  }

  function nextHead(): typeof head {
    const chunk = chunks.shift();
    if (chunk === undefined) return undefined;
    waiting -= chunk.text.length;
    return { bytes: Buffer.from(chunk.text), lines: chunk.lines };
  }

  /** The reader is gone: nothing will be read any more, and the gateway goes on without a log. */
  function lose(): void {
    state = 'gone';
    lost += (head?.lines ?? 0) + gatheredLines;
    for (const { lines } of chunks) lost += lines;
    head = undefined;
    chunks.length = 0;
    gathered = '';
    gatheredLines = 0;
    waiting = 0;
  }

  function schedule(): void {
    if (timer !== undefined || state === 'gone' || state === 'closed') return;
    if (state !== 'full' && gathered === '') return;
    timer = clock.after(state === 'full' ? retryMs : GATHER_MS, () => {
      timer = undefined;
      if (state === 'full') retryMs = Math.min(retryMs * 2, RETRY_MS.last);
      pump();
      tellLost();
      schedule();
    });
  }

  /** Tells what was lost, in a line that is itself written in its turn. */
  function tellLost(): void {
    if (lost === said || state !== 'open' || say === undefined || sayTimer !== undefined) return;
    const dueMs = saidAt + SAY_LOST_EVERY_MS - clock.now();
    if (dueMs > 0) {
      sayTimer = clock.after(dueMs, () => {
        sayTimer = undefined;
        tellLost();
      });
      return;
    }
    sayNow();
  }

  function sayNow(): void {
    const lines = lost - said;
    said = lost;
    saidAt = clock.now();
    say?.(lines);
  }

  function flushSync(): void {
    if (state === 'closed') return;
    let idle = 0;
    let before = Number.NaN;
    for (let all = 0; ; all++) {
      pump();
      if (state !== 'full') break;
      const left = waiting + (head?.bytes.length ?? 0);
      idle = left === before ? idle + 1 : 0;
      if (idle >= MOST_PAUSES.idle || all >= MOST_PAUSES.all) return;
      before = left;
      sink.pause(PAUSE_MS);
    }
    if (lost === said || state !== 'open') return;
    sayNow();
    pump();
  }

  return {
    get linesLost() {
      return lost;
    },
    onLost(run) {
      say = run;
    },
    write(line) {
      if (state === 'gone' || state === 'closed' || waiting + line.length > mostWaiting) {
        lost++;
        return;
      }
      gathered += line;
      gatheredLines++;
      waiting += line.length;
      if (gathered.length >= GATHER) {
        if (state === 'full') gather();
        else pump();
      }
      schedule();
    },
    flushSync,
    close() {
      flushSync();
      timer?.cancel();
      sayTimer?.cancel();
      if (state !== 'gone') state = 'closed';
    },
  };
}
