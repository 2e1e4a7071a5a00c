import type { Filter } from './filter.ts';
import { LineSplitter, type LineBatch } from './line-splitter.ts';
import { readLogLine } from './log-line.ts';
import type { Output } from './output.ts';
import type { Printer } from './printer.ts';
import type { Reading } from './summary-view.ts';

export interface InspectDependencies {
  readonly filter: Filter;
  readonly printer: Printer;
  readonly output: Output;
}

/** Reads sources of log lines and prints what passes; counts what it read over all of them. */
export interface Inspector {
  /**
   * Reads one source to its end, or until nobody reads the output. Holds one chunk of it at a time.
   * Rejects when the source does.
   */
  read(chunks: AsyncIterable<Buffer>): Promise<void>;
  readonly reading: Reading;
}

export function makeInspector({ filter, printer, output }: InspectDependencies): Inspector {
  let lines = 0;
  let broken = 0;

  function take({ lines: texts, tooLong }: LineBatch): string {
    lines += texts.length + tooLong;
    broken += tooLong;
    let printed = '';
    for (const text of texts) {
      const line = readLogLine(text);
      if (line.kind === 'broken') broken++;
      else if (line.kind !== 'other' && filter(line)) printed += printer.take(line, text);
    }
    return printed;
  }

  return {
    async read(chunks) {
      const splitter = new LineSplitter();
      for await (const chunk of chunks) {
        await output.write(take(splitter.push(chunk)));
        if (output.closed.aborted) return;
      }
      await output.write(take(splitter.end()));
    },
    get reading() {
      return { lines, broken };
    },
  };
}
