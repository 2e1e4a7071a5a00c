import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** The project's folder. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface SpawnedOptions {
  /**
   * Added to PATH, HOME and the folder of compiled modules (global-setup.ts), which are all that the
   * process gets of our environment.
   */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** How a process ended: its exit code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Ended extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** A child process, and the output that it has written so far. */
export class Spawned {
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ended>;
  readonly #watchers = new Set<() => void>();
  /** Standard output, for a test that stops reading it or closes it. */
  readonly output: Readable;
  stdout = '';
  stderr = '';

  constructor(
    command: string,
    args: readonly string[],
    { env = {}, cwd = ROOT }: SpawnedOptions = {},
  ) {
    const { PATH = '', HOME = '', NODE_COMPILE_CACHE } = process.env;
    this.#child = spawn(command, args, {
      cwd,
      env: { PATH, HOME, ...(NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error('the process has no output');
    this.output = stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      for (const look of this.#watchers) look();
    });
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#ended = this.#end();
  }

  async #end(): Promise<Ended> {
    await once(this.#child, 'close');
    for (const look of this.#watchers) look();
    return { ...this.#exit(), stdout: this.stdout, stderr: this.stderr };
  }

  #exit(): Exit {
    const { exitCode, signalCode } = this.#child;
    return { code: exitCode, signal: signalCode };
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  /** Resolves to the first match in its output; rejects when it ends without one. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(this.stdout);
        if (found !== null) resolve(found);
        else if (this.#isRunning) return;
        else reject(new Error(`ended without ${String(pattern)}: ${this.stdout}${this.stderr}`));
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the process is gone, whether or not its output was read. */
  async exited(): Promise<Exit> {
    if (this.#isRunning) await once(this.#child, 'exit');
    return this.#exit();
  }

  /** Resolves when the process is gone and its output was read to the end. */
  ended(): Promise<Ended> {
    return this.#ended;
  }

  /** Ends the process at once, for the end of a test. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    this.output.destroy();
    await this.exited();
  }
}

/** `headgate …` from the sources, on the Node that runs the tests. */
export function headgate(args: readonly string[], options: SpawnedOptions = {}): Spawned {
  return new Spawned(process.execPath, [`${ROOT}src/main.ts`, ...args], options);
}
