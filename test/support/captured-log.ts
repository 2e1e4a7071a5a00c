/** One line of the log, parsed. */
export type LogLine = Readonly<Record<string, unknown>>;

/** How long a test waits for a line before it fails with the lines that came. */
const PATIENCE_MS = 240_000;

interface Watcher {
  readonly done: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The gateway's log: a test reads its lines and waits for them. */
export class CapturedLog {
  /** Every byte as it was written. */
  text = '';
  readonly lines: LogLine[] = [];
  /** Lines that are not one JSON object each. */
  readonly forged: string[] = [];
  #partial = '';
  #ended = false;
  readonly #counts = new Map<unknown, number>();
  readonly #watchers = new Set<Watcher>();

  write(chunk: string): void {
    this.text += chunk;
    const parts = (this.#partial + chunk).split('\n');
    this.#partial = parts.pop() ?? '';
    for (const part of parts) this.#add(part);
    this.#notify();
  }

  /** The process is gone: waits that are not satisfied by now reject. */
  end(): void {
    this.#ended = true;
    this.#notify();
  }

  /** The number of lines with this `msg`. */
  count(msg: string): number {
    return this.#counts.get(msg) ?? 0;
  }

  /** The lines with this `msg`, in the order in which they were written. */
  named(msg: string): LogLine[] {
    return this.lines.filter((line) => line['msg'] === msg);
  }

  /** Resolves to the first line with this `msg`, once it is written. */
  async first(msg: string): Promise<LogLine> {
    const [line = {}] = await this.wait(msg, 1);
    return line;
  }

  /**
   * Resolves to the lines with this `msg` when there are at least `count` of them. A call's line is
   * written after its answer.
   */
  async wait(msg: string, count: number): Promise<LogLine[]> {
    await this.waitUntil(
      () => this.count(msg) >= count,
      () => `${count} lines "${msg}", got ${this.count(msg)}`,
    );
    return this.named(msg);
  }

  /** Resolves when what was written makes `done` true. */
  waitUntil(done: () => boolean, expected = () => 'other lines'): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        const latest = this.text.slice(-2000);
        stop();
        reject(new Error(`expected ${expected()} ${why}; the latest lines:\n${latest}`));
      };
      const timer = setTimeout(() => fail(`within ${PATIENCE_MS} ms`), PATIENCE_MS);
      const watcher: Watcher = {
        done,
        resolve() {
          stop();
          resolve();
        },
        reject: () => fail('before the log ended'),
      };
      const stop = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(watcher);
      };
      this.#watchers.add(watcher);
      this.#notify();
    });
  }

  #notify(): void {
    for (const watcher of this.#watchers) {
      if (watcher.done()) watcher.resolve();
      else if (this.#ended) watcher.reject(new Error('ended'));
    }
  }

  #add(text: string): void {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value !== 'object' || value === null) throw new Error('not an object');
      const line: LogLine = { ...value };
      this.lines.push(line);
      this.#counts.set(line['msg'], this.count(String(line['msg'])) + 1);
    } catch {
      // The gateway promised not to write this: tests look at `forged`.
      this.forged.push(text);
    }
  }
}
