/** One line of the log, parsed. */
export type LogLine = Readonly<Record<string, unknown>>;

/** A log that a test can read, and wait for. */
export class CapturedLog {
  /** Every byte as it was written. */
  text = '';
  readonly lines: LogLine[] = [];
  /** What is no JSON object on a line of its own. */
  readonly forged: string[] = [];
  #partial = '';
  readonly #watchers = new Set<() => void>();

  write(chunk: string): void {
    this.text += chunk;
    const parts = (this.#partial + chunk).split('\n');
    this.#partial = parts.pop() ?? '';
    for (const part of parts) this.#take(part);
    for (const watch of this.#watchers) watch();
  }

  /** The lines with this `msg`, in the order in which they were written. */
  named(msg: string): LogLine[] {
    return this.lines.filter((line) => line['msg'] === msg);
  }

  /**
   * Resolves to the lines with this `msg` when there are at least `count` of them: a call's line is
   * written after its answer. Rejects after `withinMs`, saying what there was.
   */
  wait(msg: string, count: number, withinMs = 15_000): Promise<LogLine[]> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.named(msg);
        if (found.length < count) return;
        stop();
        resolve(found);
      };
      const timer = setTimeout(() => {
        stop();
        const latest = this.lines.slice(-5).map((line) => JSON.stringify(line));
        const seen = `${this.named(msg).length}; the latest lines:\n${latest.join('\n')}`;
        reject(new Error(`expected ${count} lines "${msg}", got ${seen}`));
      }, withinMs);
      const stop = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #take(text: string): void {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value !== 'object' || value === null) throw new Error('not an object');
      this.lines.push({ ...value });
    } catch {
      // Whatever this is, the gateway promised not to write it: a test looks at `forged`.
      this.forged.push(text);
    }
  }
}
