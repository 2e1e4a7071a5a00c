import type { Filter } from './filter.ts';
import { LineSplitter, type LineBatch } from './line-splitter.ts';
import { readLogLine } from './log-line.ts';
import type { Output } from './output.ts';
import type { Printer } from './printer.ts';
import type { ReadCounts } from './summary-view.ts';

export interface LogReaderDependencies {
  readonly filter: Filter;
  readonly printer: Printer;
  readonly output: Output;
}

/** Reads log lines from files or pipes, and prints those that pass the filter. */
export interface LogReader {
  /**
   * Reads one source to its end, or until the reader of the output closes. Keeps one chunk in memory
   * at a time. Rejects when the source does.
   */
  read(chunks: AsyncIterable<Buffer>): Promise<void>;
  /** The counts over all sources. */
  readonly counts: ReadCounts;
}

export function makeLogReader({ filter, printer, output }: LogReaderDependencies): LogReader {
  let lines = 0;
  let broken = 0;

  function format({ lines: texts, tooLong }: LineBatch): string {
    lines += texts.length + tooLong;
    broken += tooLong;
    let printed = '';
    for (const text of texts) {
      const line = readLogLine(text);
      if (line.kind === 'broken') broken++;
      else if (line.kind !== 'other' && filter(line)) printed += printer.format(line, text);
    }
    return printed;
  }

  return {
    async read(chunks) {
      const splitter = new LineSplitter();
      for await (const chunk of chunks) {
        await output.write(format(splitter.push(chunk)));
        if (output.closed.aborted) return;
      }
      await output.write(format(splitter.end()));
    },
    get counts() {
      return { lines, broken };
    },
  };
}
