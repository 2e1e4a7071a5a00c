import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startApp } from '../../src/app/app.ts';
import { loadConfig } from '../../src/config/config.ts';
import type { Random, Clock } from '../../src/util/clock.ts';
import { systemRandom, systemClock } from '../../src/util/system-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { CapturedLog } from './captured-log.ts';

export interface GatewayOptions {
  /** Where the API is. */
  readonly upstream: string;
  /** Further settings, by variable. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A configuration file's text, for what only a file can hold. */
  readonly yaml?: string;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface TestGateway {
  readonly url: string;
  readonly adminUrl: string;
  readonly log: CapturedLog;
  stop(): Promise<void>;
}

/** Short, so that a test that leaves requests waiting is not waited for. */
const DRAIN = '200ms';

/** The settings of a gateway on free ports. */
function settingsFor({ upstream, settings = {} }: GatewayOptions): Record<string, string> {
  return {
    HEADGATE_UPSTREAM_URL: upstream,
    HEADGATE_LISTEN: '127.0.0.1:0',
    HEADGATE_ADMIN_LISTEN: '127.0.0.1:0',
    HEADGATE_DRAIN_DELAY: '0',
    HEADGATE_DRAIN_TIMEOUT: DRAIN,
    ...settings,
  };
}

/** Starts a gateway in this process, composed as the program composes it. */
export async function startGateway(options: GatewayOptions): Promise<TestGateway> {
  const { yaml, clock = systemClock, random = systemRandom } = options;
  const loaded = loadConfig({
    env: settingsFor(options),
    configPath: yaml === undefined ? undefined : 'headgate.yaml',
    readFile: (path) => {
      if (path === 'headgate.yaml' && yaml !== undefined) return yaml;
      return readFileSync(path, 'utf8');
    },
  });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
  const { config } = loaded;
  const captured = new CapturedLog();
  const log = makeLog({
    level: config.logLevel,
    replica: 'test',
    clock,
    destination: { write: (line) => captured.write(line) },
  });
  const running = await startApp({
    settings: loaded,
    clock,
    random,
    log,
    replica: 'test',
    version: 'test',
  });
  return {
    url: running.url,
    adminUrl: running.adminUrl ?? '',
    log: captured,
    stop: () => running.stop(),
  };
}

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface GatewayProcess {
  readonly url: string;
  readonly adminUrl: string;
  readonly log: CapturedLog;
  /** What it wrote to standard error. */
  readonly stderr: () => string;
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when the process is gone and all it wrote was read. */
  readonly ended: Promise<Ended>;
  /** Ends it the hard way, if it still runs. */
  stop(): Promise<void>;
}

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Starts the program itself, `node src/main.ts serve`, and waits until it listens. */
export async function startGatewayProcess(options: GatewayOptions): Promise<GatewayProcess> {
  const { PATH = '', TZ = 'UTC' } = process.env;
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    env: { PATH, TZ, ...settingsFor(options) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log = new CapturedLog();
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => log.write(chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  try {
    const early = ended.then(({ code }) => {
      throw new Error(`it ended with ${code} before it listened: ${stderr}${log.text}`);
    });
    const [listening = {}] = await Promise.race([log.wait('listening', 1), early]);
    const { pid } = child;
    if (pid === undefined) throw new Error('the process has no id');
    return {
      url: String(listening['url']),
      adminUrl: String(listening['adminUrl']),
      log,
      stderr: () => stderr,
      pid,
      kill: (signal) => child.kill(signal),
      ended,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
