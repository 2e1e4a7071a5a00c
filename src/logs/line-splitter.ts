import { StringDecoder } from 'node:string_decoder';

/** A longer line cannot be one of our log, and is dropped. */
const LONGEST_LINE = 1024 * 1024;

/** Some whole lines, without their line ends. */
export interface LineBatch {
  readonly lines: readonly string[];
  /** How many lines were dropped because they were too long. */
  readonly tooLong: number;
}

/**
 * Splits a stream of bytes into lines. Keeps at most one chunk and one unfinished line in memory.
 * A character may be split over two chunks. `\r\n` and `\n` end a line, and empty lines are omitted.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  #unfinished = '';
  /** Whether the rest of the current line is dropped because the line is too long. */
  #skipping = false;

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): LineBatch {
    return this.#complete(this.#decoder.write(chunk).split('\n'));
  }

  /** The last line, if it has no line end. Afterwards the splitter is in its initial state. */
  end(): LineBatch {
    return this.#complete([this.#decoder.end(), '']);
  }

  #complete(parts: string[]): LineBatch {
    if (this.#skipping) {
      if (parts.length === 1) return { lines: [], tooLong: 0 };
      parts.shift();
      this.#skipping = false;
    } else {
      parts[0] = this.#unfinished + (parts[0] ?? '');
    }
    this.#unfinished = parts.pop() ?? '';
    let tooLong = 0;
    const lines: string[] = [];
    for (const part of parts) {
      const line = part.endsWith('\r') ? part.slice(0, -1) : part;
      if (line.length > LONGEST_LINE) tooLong++;
      else if (line !== '') lines.push(line);
    }
    if (this.#unfinished.length > LONGEST_LINE) {
      this.#unfinished = '';
      this.#skipping = true;
      tooLong++;
    }
    return { lines, tooLong };
  }
}
