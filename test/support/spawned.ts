import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The project's folder. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface SpawnedOptions {
  /** Added to the little that the process gets of our environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Ended {
  /** The exit code; `undefined` when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process of ours, and what it has said so far. */
export class Spawned {
  readonly #child: ChildProcess;
  readonly #ended: Promise<Ended>;
  readonly #waiting = new Set<() => void>();
  #stdout = '';
  #stderr = '';

  constructor(
    command: string,
    args: readonly string[],
    { env = {}, cwd = ROOT }: SpawnedOptions = {},
  ) {
    const { PATH = '', HOME = '' } = process.env;
    this.#child = spawn(command, args, {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      for (const look of this.#waiting) look();
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#ended = this.#end();
  }

  async #end(): Promise<Ended> {
    await once(this.#child, 'close');
    for (const look of this.#waiting) look();
    const { exitCode, signalCode } = this.#child;
    return {
      code: exitCode ?? undefined,
      signal: signalCode ?? undefined,
      stdout: this.#stdout,
      stderr: this.#stderr,
    };
  }

  /** Resolves to the first match in its output; rejects when it ends without one. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = pattern.exec(this.#stdout);
        if (found !== null) resolve(found);
        else if (this.#child.exitCode === null && this.#child.signalCode === null) return;
        else reject(new Error(`ended without ${String(pattern)}: ${this.#stdout}${this.#stderr}`));
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves when the process is gone, though others may still hold its output open. */
  async exited(): Promise<Pick<Ended, 'code' | 'signal'>> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) await once(this.#child, 'exit');
    return {
      code: this.#child.exitCode ?? undefined,
      signal: this.#child.signalCode ?? undefined,
    };
  }

  ended(): Promise<Ended> {
    return this.#ended;
  }

  /** For the end of a test: nothing of it stays. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** `headgate …` from the sources, on the Node that runs the tests. */
export function headgate(args: readonly string[], options: SpawnedOptions = {}): Spawned {
  return new Spawned(process.execPath, [`${ROOT}src/main.ts`, ...args], options);
}
