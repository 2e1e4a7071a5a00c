import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import { startApp, type RunningGateway } from '../../src/app/app.ts';
import { loadConfig, type LoadResult } from '../../src/config/config.ts';
import { systemRandom, systemClock } from '../../src/util/system-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';

/** Files that exist for a test and nowhere else, by path. */
export type Files = Readonly<Record<string, string>>;

/** Reads settings as the program would, with `files` for a disk. */
export function settingsOf(env: Readonly<Record<string, string>>, files: Files = {}): LoadResult {
  return loadConfig({
    env,
    configPath: files['headgate.yaml'] === undefined ? undefined : 'headgate.yaml',
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`there is no ${path}`);
      return text;
    },
  });
}

export interface Composed extends RunningGateway {
  /** What it logged so far, a line an entry. */
  readonly lines: readonly string[];
}

/** A gateway in this process, on free ports, as the program composes it. */
export async function composeGateway(
  env: Readonly<Record<string, string>>,
  files: Files = {},
): Promise<Composed> {
  const loaded = settingsOf(
    { HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_ADMIN_LISTEN: '127.0.0.1:0', ...env },
    files,
  );
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
  const lines: string[] = [];
  const log = makeLog({
    level: loaded.config.logLevel,
    replica: 'test',
    clock: systemClock,
    destination: { write: (line) => void lines.push(line) },
  });
  const running = await startApp({
    settings: loaded,
    clock: systemClock,
    random: systemRandom,
    log,
    replica: 'test',
  });
  return { ...running, lines };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Asks for `path` with exactly these headers and reads the whole answer; no connection is kept. */
export function askFor(
  url: string,
  path: string,
  headers: OutgoingHttpHeaders = {},
  method = 'GET',
): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const options = { host: hostname.replace(/^\[|\]$/g, ''), port, path, method, headers };
    const asked = request({ ...options, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}
