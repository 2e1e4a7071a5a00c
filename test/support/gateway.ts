import { readFileSync } from 'node:fs';
import { startApp, type RunningGateway } from '../../src/app/app.ts';
import { loadConfig, type LoadResult } from '../../src/config/config.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import type { Clock, Random } from '../../src/util/clock.ts';
import { systemClock, systemRandom } from '../../src/util/system-clock.ts';
import { CapturedLog } from './captured-log.ts';
import { FakeClock } from './fake-clock.ts';

/** The text of files that exist for one test only, by path. */
export type Files = Readonly<Record<string, string>>;

export interface GatewayOptions {
  /** The API's address; nothing listens there unless a test says otherwise. */
  readonly upstream?: string;
  /** Further settings, by variable. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Files that only this gateway sees; `headgate.yaml` is its configuration file. */
  readonly files?: Files;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface TestGateway {
  readonly url: string;
  readonly adminUrl: string;
  /** Of the proxy for clients with a fixed address; empty if there is none. */
  readonly proxyUrl: string;
  readonly log: CapturedLog;
  /** Reads its settings again, as SIGHUP does, with these files or variables changed. */
  reload(changed: Pick<GatewayOptions, 'settings' | 'files'>): void;
  stop(): Promise<void>;
  /** Stops as SIGTERM does, with the drain delay. */
  stopAfterDelay(): Promise<void>;
}

/** Short, so that a test does not wait for requests that it left behind. */
const DRAIN_TIMEOUT = '200ms';

type UpstreamAndSettings = Pick<GatewayOptions, 'upstream' | 'settings'>;

/** The settings of a gateway on free ports. */
export function settingsFor({
  upstream = 'http://127.0.0.1:9',
  settings = {},
}: UpstreamAndSettings): Record<string, string> {
  return {
    HEADGATE_UPSTREAM_URL: upstream,
    HEADGATE_LISTEN: '127.0.0.1:0',
    HEADGATE_ADMIN_LISTEN: '127.0.0.1:0',
    HEADGATE_DRAIN_DELAY: '0',
    ...settings,
  };
}

/** Reads settings as the program does. A file is taken from `files` first, then from the disk. */
export function loadSettings(env: Readonly<Record<string, string>>, files: Files = {}): LoadResult {
  return loadConfig({
    env,
    configPath: files['headgate.yaml'] === undefined ? undefined : 'headgate.yaml',
    readFile: (path) => files[path] ?? readFileSync(path, 'utf8'),
  });
}

/** Stops a gateway whose drain timeout passes only as the test's clock does. */
async function stopOn(clock: FakeClock, running: RunningGateway): Promise<void> {
  const stopped = running.stop().then(() => 'stopped' as const);
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  while ((await Promise.race([stopped, turn()])) !== 'stopped') clock.advance(100);
}

/** Starts a gateway in this process, composed as the program composes it. */
export async function startGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const { files, clock = systemClock, random = systemRandom } = options;
  const env = { HEADGATE_DRAIN_TIMEOUT: DRAIN_TIMEOUT, ...settingsFor(options) };
  const settings = loadSettings(env, files);
  if (settings.kind === 'bad') throw new Error(settings.problems.join('\n'));
  const captured = new CapturedLog();
  const log = makeLog({
    level: settings.config.logLevel,
    replica: 'test',
    clock,
    destination: { write: (line) => captured.write(line) },
  });
  const running = await startApp({
    settings,
    clock,
    random,
    log,
    replica: 'test',
    version: 'test',
  });
  return {
    url: running.url,
    adminUrl: running.adminUrl ?? '',
    proxyUrl: running.proxyUrl ?? '',
    log: captured,
    reload(changed) {
      const inFiles = { ...files, ...changed.files };
      running.reload(loadSettings({ ...env, ...changed.settings }, inFiles));
    },
    stop: () => (clock instanceof FakeClock ? stopOn(clock, running) : running.stop()),
    stopAfterDelay: () => running.stop('after-delay'),
  };
}
