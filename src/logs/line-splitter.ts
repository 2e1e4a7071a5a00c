import { StringDecoder } from 'node:string_decoder';

/** A line longer than this is no line of ours, and is not kept. */
const LONGEST_LINE = 1024 * 1024;

/** Some whole lines, without their ends. */
export interface LineBatch {
  readonly lines: readonly string[];
  /** Lines that were too long to keep. */
  readonly tooLong: number;
}

/**
 * Cuts a stream of bytes into lines, holding at most one chunk and one unfinished line at a time.
 * Characters that a chunk's end cuts through stay whole, `\r\n` ends a line as `\n` does, and empty
 * lines are left out.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  #unfinished = '';
  /** The rest of the line at hand is to be thrown away: it was too long already. */
  #skipping = false;

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): LineBatch {
    return this.#take(this.#decoder.write(chunk).split('\n'));
  }

  /** The last line, if the stream did not end it; the splitter is as new afterwards. */
  end(): LineBatch {
    return this.#take([this.#decoder.end(), '']);
  }

  #take(parts: string[]): LineBatch {
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
