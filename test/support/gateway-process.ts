import { CapturedLog } from './captured-log.ts';
import { settingsFor, type GatewayOptions } from './gateway.ts';
import { ROOT, Spawned, type Exit } from './spawned.ts';

export interface GatewayProcessOptions extends Pick<GatewayOptions, 'upstream' | 'settings'> {
  /** Further arguments of Node itself, such as a module to load first. */
  readonly nodeArgs?: readonly string[];
  /** Further arguments of the gateway. */
  readonly args?: readonly string[];
}

/** The program itself, `node src/main.ts serve`, as a child process. */
export class GatewayProcess {
  readonly log = new CapturedLog();
  readonly #spawned: Spawned;
  /** Resolves when the process is gone and its output was read to the end. */
  readonly ended: Promise<Exit>;
  url = '';
  adminUrl = '';

  constructor({ nodeArgs = [], args = [], ...options }: GatewayProcessOptions = {}) {
    const { TZ = 'UTC' } = process.env;
    const command = [...nodeArgs, `${ROOT}src/main.ts`, 'serve', ...args];
    this.#spawned = new Spawned(process.execPath, command, {
      env: { TZ, ...settingsFor(options) },
    });
    this.#spawned.output.on('data', (chunk: string) => this.log.write(chunk));
    this.ended = this.#end();
  }

  async #end(): Promise<Exit> {
    const { code, signal } = await this.#spawned.ended();
    this.log.end();
    return { code, signal };
  }

  /** Resolves when it listens. */
  async listening(): Promise<void> {
    const { url, adminUrl } = await this.log.first('listening');
    this.url = String(url);
    this.adminUrl = String(adminUrl);
  }

  get pid(): number {
    return this.#spawned.pid;
  }

  get stderr(): string {
    return this.#spawned.stderr;
  }

  /** Reads no further output, like a log collector that hangs. */
  stopReading(): void {
    this.#spawned.output.pause();
  }

  resumeReading(): void {
    this.#spawned.output.resume();
  }

  /** Closes its output, like a log collector that died. */
  closeOutput(): void {
    this.#spawned.output.destroy();
  }

  kill(signal: NodeJS.Signals): void {
    this.#spawned.kill(signal);
  }

  /** Resolves when the process is gone, whether or not its output was read. */
  exited(): Promise<Exit> {
    return this.#spawned.exited();
  }

  /** Ends the process at once, for the end of a test. */
  stop(): Promise<void> {
    return this.#spawned.stop();
  }
}

/** Starts the program and waits until it listens. */
export async function startGatewayProcess(
  options: GatewayProcessOptions = {},
): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(options);
  try {
    await gateway.listening();
    return gateway;
  } catch (error) {
    await gateway.stop();
    throw new Error(`the gateway did not start: ${gateway.stderr}`, { cause: error });
  }
}
