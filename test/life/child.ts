import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { ROOT } from '../support/spawned.ts';

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Further arguments of Node itself, such as a module to load first. */
  readonly nodeArgs?: readonly string[];
  readonly args?: readonly string[];
}

type Line = Readonly<Record<string, unknown>>;

/** How a line of V8's own traces begins: `[pid:isolate]`. */
const NODES_OWN = '[';

/** The gateway as a process whose output a test reads, stops reading, or closes. */
export class Child {
  readonly #child: ChildProcess;
  readonly #stdout: Readable;
  #text = '';
  #stderr = '';
  readonly #waiting = new Set<() => void>();
  readonly #closed: Promise<unknown>;
  url = '';
  adminUrl = '';

  constructor({ env = {}, nodeArgs = [], args = [] }: ChildOptions) {
    this.#child = spawn(process.execPath, [...nodeArgs, `${ROOT}src/main.ts`, 'serve', ...args], {
      env: {
        PATH: process.env['PATH'] ?? '',
        HEADGATE_LISTEN: '127.0.0.1:0',
        HEADGATE_ADMIN_LISTEN: '127.0.0.1:0',
        HEADGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
        HEADGATE_DRAIN_DELAY: '0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error('the process has no output');
    this.#stdout = stdout;
    stdout.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk;
      for (const look of this.#waiting) look();
    });
    stderr.setEncoding('utf8').on('data', (chunk: string) => (this.#stderr += chunk));
    this.#closed = once(this.#child, 'close').then(() => {
      for (const look of this.#waiting) look();
    });
  }

  /** The whole lines that came so far, but for what Node itself says (`nodeArgs` may ask it to). */
  get lines(): Line[] {
    const whole = this.#text.slice(0, this.#text.lastIndexOf('\n') + 1);
    const isOurs = (line: string): boolean => line !== '' && !line.startsWith(NODES_OWN);
    return whole
      .split('\n')
      .filter(isOurs)
      .map((line): Line => JSON.parse(line));
  }

  /** Those that say `message`. */
  said(message: string): Line[] {
    return this.lines.filter(({ msg }) => msg === message);
  }

  /** How many lines say `message`; cheaper than to read them all. */
  count(message: string): number {
    return this.#text.split(`"msg":"${message}"}\n`).length - 1;
  }

  /** All that came on stdout, for what is no line of ours. */
  get output(): string {
    return this.#text;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves to the first line that says `message`; rejects when it ends without one. */
  async waitFor(message: string): Promise<Line> {
    await this.waitUntil(() => this.#text.includes(`"msg":"${message}"}\n`));
    const [found] = this.said(message);
    if (found === undefined) throw new Error(`no whole line says "${message}"`);
    return found;
  }

  /** Resolves when its output has made `done` true; rejects when it ends without. */
  waitUntil(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (done()) resolve();
        else if (this.#child.exitCode === null && this.#child.signalCode === null) return;
        else reject(new Error(`ended too soon: ${this.#text}${this.#stderr}`));
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Reads nothing more, as a collector that hangs. */
  stopReading(): void {
    this.#stdout.pause();
  }

  readOn(): void {
    this.#stdout.resume();
  }

  /** Goes away, as a collector that died. */
  closeOutput(): void {
    this.#stdout.destroy();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the process is gone, whether or not its output was read. */
  async exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) await once(this.#child, 'exit');
    return { code: this.#child.exitCode, signal: this.#child.signalCode };
  }

  /** Resolves when it is gone and all its output was read. */
  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    await this.#closed;
    return { code: this.#child.exitCode, signal: this.#child.signalCode };
  }

  /** For the end of a test: nothing of it stays. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    this.#stdout.destroy();
    await this.exited();
  }
}

/** Starts the gateway and waits until it listens. */
export async function startChild(options: ChildOptions = {}): Promise<Child> {
  const child = new Child(options);
  try {
    const { url, adminUrl } = await child.waitFor('listening');
    child.url = String(url);
    child.adminUrl = String(adminUrl);
    return child;
  } catch (error) {
    await child.stop();
    throw error;
  }
}
