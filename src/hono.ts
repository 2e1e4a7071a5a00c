import { readFileSync } from 'node:fs';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { basePath } from 'hono/route';
import { startEmbedded, type Embedded } from './app/embedded.ts';
import { loadConfig, type Settings } from './config/config.ts';
import type { LISTS } from './config/lists.ts';
import type { SETTINGS } from './config/settings.ts';
import { makeLogOutput } from './telemetry/log-output.ts';
import { makeLog } from './telemetry/log.ts';
import { stdoutSink } from './telemetry/stdout.ts';
import { systemClock, systemRandom } from './util/system-clock.ts';

/** `headgate/hono`: the gateway as a part of a Hono application of your own. */

/** The settings of listeners and of the process, which belong to the application. */
const NOT_HERE = [
  'listen',
  'adminListen',
  'keepAliveTimeout',
  'tlsCert',
  'tlsKey',
  'adminTlsCert',
  'adminTlsKey',
  'intercept',
  'interceptListen',
  'interceptCaCert',
  'interceptCaKey',
  'interceptOthers',
  'maxConnections',
  'maxConnectionsPerAddress',
  'adminToken',
  'adminTokenFile',
  'drainDelay',
  'drainTimeout',
] as const satisfies readonly (keyof typeof SETTINGS)[];

type SettingKey = Exclude<keyof typeof SETTINGS, (typeof NOT_HERE)[number]>;
type ListKey = 'apis' | keyof typeof LISTS;

/** The keys of a configuration file, with the same values: docs/configuration.md lists them. */
export type HeadgateSettings = { readonly [Key in SettingKey]?: string | number | boolean } & {
  readonly [Key in ListKey]?: unknown;
};

export interface HeadgateOptions {
  /** Receives each line of the log, as JSON with a line end. Default: standard output. */
  readonly writeLog?: (line: string) => void;
  /** Reads the files that settings name, such as `tokenFile`. Default: as UTF-8, from the disk. */
  readonly readFile?: (path: string) => string;
}

/** An application whose every route is the gateway. */
export type HeadgateApp = Hono<{ Bindings: HttpBindings }> & {
  /** Aborts the calls under way, and closes the connections to the APIs and to Redis. */
  close(): Promise<void>;
};

/**
 * Makes the gateway for a route of a Hono application on @hono/node-server:
 * `app.route('/api', headgate({ preset: … }))`. The path before the route is not sent.
 *
 * Throws an error with one line per problem if the settings are wrong. A token needs `callerKeys`, or
 * `open: true` where the application itself decides who may call. Environment variables are not
 * read, so settings cannot come from elsewhere.
 */
export function headgate(
  settings: HeadgateSettings = {},
  { writeLog, readFile = readFromDisk }: HeadgateOptions = {},
): HeadgateApp {
  const loaded = load(settings, readFile);
  const output = makeLogOutput({ sink: stdoutSink(), clock: systemClock });
  const log = makeLog({
    level: loaded.config.logLevel,
    replica: 'hono',
    clock: systemClock,
    destination: writeLog === undefined ? output : { write: writeLog },
  });
  const starting = startEmbedded({
    settings: loaded,
    clock: systemClock,
    random: systemRandom,
    log,
  });
  // The first request reports a failure; until then nothing waits for the promise.
  starting.catch((err: unknown) => log.fatal({ err }, 'cannot run'));
  let embedded: Embedded | undefined;
  const app = new Hono<{ Bindings: HttpBindings }>().all('*', async (c) => {
    embedded ??= await starting;
    // Other servers than Node's call an application without them.
    const { incoming, outgoing }: Partial<HttpBindings> = c.env ?? {};
    if (incoming === undefined || outgoing === undefined) throw new TypeError(NO_NODE);
    const prefix = basePath(c);
    await embedded.serve(incoming, outgoing, prefix === '/' ? '' : prefix);
    return RESPONSE_ALREADY_SENT;
  });
  const flush = (): void => output.flushSync();
  process.on('exit', flush);
  return Object.assign(app, {
    async close() {
      await (await starting).close();
      process.off('exit', flush);
      output.close();
    },
  });
}

const NO_NODE =
  'headgate/hono: expected a request of @hono/node-server, whose environment has the request and the response of Node, got another';

/** Reads the settings as those of a file are read, so their rules and their problems are the same. */
function load(settings: HeadgateSettings, readFile: (path: string) => string): Settings {
  const loaded = loadConfig({
    env: {},
    configPath: SETTINGS_NAME,
    readFile: (path) => (path === SETTINGS_NAME ? JSON.stringify(settings) : readFile(path)),
  });
  const problems = NOT_HERE.filter((key) => key in settings).map(
    (key) => `${key}: expected it at the application's server, got it for a route`,
  );
  if (loaded.kind === 'bad') problems.push(...loaded.problems);
  else {
    const { config } = loaded;
    const hasToken = [config, ...config.apis].some(({ token }) => token.kind !== 'none');
    if (hasToken && !config.open && config.callerKeys.length === 0) {
      problems.push(
        "token: expected callerKeys or open: true as well, because every client of the application would spend the token's budget; got neither",
      );
    }
    if (problems.length === 0) return loaded;
  }
  throw new Error(`headgate/hono: wrong settings\n${problems.join('\n')}`);
}

/** How problems name the settings; no file has this name. */
const SETTINGS_NAME = 'headgate()';

function readFromDisk(path: string): string {
  return readFileSync(path, 'utf8');
}
