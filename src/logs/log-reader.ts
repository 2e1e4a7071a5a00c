import type { Filter } from './filter.ts';
import { LineSplitter, type LineBatch } from './line-splitter.ts';
import { readLogLine, type LoggedLine } from './log-line.ts';
import type { Output } from './output.ts';
import type { Printer } from './printer.ts';
import type { ReadCounts } from './summary-view.ts';

export interface LogReaderDependencies {
  readonly filter: Filter;
  readonly printer: Printer;
  readonly output: Output;
}

/** The bytes of one file or pipe. */
export type Source = AsyncIterable<Buffer>;

/** Reads log lines from files or pipes, and prints those that pass the filter. */
export interface LogReader {
  /**
   * Reads one source to its end, or until the reader of the output closes. Keeps one chunk in memory
   * at a time. Rejects when the source does.
   */
  read(source: Source): Promise<void>;
  /**
   * Reads several sources to their ends, and prints their lines in the order of their times. Lines of
   * one source stay in their order. Keeps one chunk of each in memory. Calls `onFailure` for a source
   * that fails, and goes on with the others.
   */
  readMerged(
    sources: readonly Source[],
    onFailure: (source: Source, error: unknown) => void,
  ): Promise<void>;
  /** The counts over all sources. */
  readonly counts: ReadCounts;
  /** How many lines passed the filter. */
  readonly matched: number;
}

/** A line that passed the filter, and its original. */
interface Kept {
  readonly line: LoggedLine;
  readonly text: string;
}

/** Merged lines are written in pieces of this many characters. */
const PIECE = 64 * 1024;

export function makeLogReader({ filter, printer, output }: LogReaderDependencies): LogReader {
  let lines = 0;
  let broken = 0;
  let matched = 0;

  function keep({ lines: texts, tooLong }: LineBatch): Kept[] {
    lines += texts.length + tooLong;
    broken += tooLong;
    const kept: Kept[] = [];
    for (const text of texts) {
      const line = readLogLine(text);
      if (line.kind === 'broken') broken++;
      else if (line.kind !== 'other' && filter(line)) {
        matched++;
        kept.push({ line, text });
      }
    }
    return kept;
  }

  async function* batches(source: Source): AsyncGenerator<readonly Kept[]> {
    const splitter = new LineSplitter();
    for await (const chunk of source) {
      yield keep(splitter.push(chunk));
      if (output.closed.aborted) return;
    }
    yield keep(splitter.end());
  }

  async function print(text: string): Promise<void> {
    if (text !== '') await output.write(text);
  }

  return {
    async read(source) {
      for await (const batch of batches(source)) {
        await print(batch.map(({ line, text }) => printer.format(line, text)).join(''));
      }
    },
    async readMerged(sources, onFailure) {
      const queues = sources.map((source) => new Queue(source, batches(source), onFailure));
      for (const queue of queues) await queue.fill();
      let piece = '';
      for (;;) {
        let first: Queue | undefined;
        for (const queue of queues) if (queue.atMs < (first?.atMs ?? Infinity)) first = queue;
        if (first === undefined || output.closed.aborted) break;
        const kept = first.take();
        if (kept !== undefined) piece += printer.format(kept.line, kept.text);
        if (first.isEmpty || piece.length >= PIECE) {
          await print(piece);
          piece = '';
          await first.fill();
        }
      }
      await print(piece);
    },
    get counts() {
      return { lines, broken };
    },
    get matched() {
      return matched;
    },
  };
}

/** The lines of one source that were read and not printed yet. */
class Queue {
  readonly #source: Source;
  readonly #batches: AsyncGenerator<readonly Kept[]>;
  readonly #onFailure: (source: Source, error: unknown) => void;
  #lines: readonly Kept[] = [];
  #next = 0;

  constructor(
    source: Source,
    batches: AsyncGenerator<readonly Kept[]>,
    onFailure: (source: Source, error: unknown) => void,
  ) {
    this.#source = source;
    this.#batches = batches;
    this.#onFailure = onFailure;
  }

  get isEmpty(): boolean {
    return this.#next >= this.#lines.length;
  }

  /** The time of the next line; infinite when the source has ended. */
  get atMs(): number {
    return this.#lines[this.#next]?.line.atMs ?? Infinity;
  }

  take(): Kept | undefined {
    return this.#lines[this.#next++];
  }

  /** Reads until there is a line, or the source has ended. */
  async fill(): Promise<void> {
    try {
      while (this.isEmpty) {
        const { done, value } = await this.#batches.next();
        if (done === true) return;
        this.#lines = value;
        this.#next = 0;
      }
    } catch (error) {
      this.#onFailure(this.#source, error);
    }
  }
}
