import { hostname } from 'node:os';
import type { Config, Settings } from '../config/config.ts';
import { isSocketPath, type ListenAddress } from '../config/values.ts';
import { printable, printableJson } from '../logs/terminal-text.ts';
import { systemRandom, systemClock } from '../util/system-clock.ts';
import { makeLogOutput } from '../telemetry/log-output.ts';
import { stdoutSink } from '../telemetry/stdout.ts';
import {
  CONFIG_OPTION,
  readSettings,
  withSettings,
  type Command,
  type ExitCode,
  type Invocation,
} from './command.ts';
import { listenToSignals } from './signals.ts';

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the gateway',
  options: [CONFIG_OPTION],
  run: withSettings(runGateway),
};

/**
 * Runs the gateway until a signal stops it. Resolves to the exit code.
 *
 * SIGTERM drains it after the drain delay, SIGINT drains it at once. A second signal ends the process
 * at once. SIGHUP reloads the settings. However the process ends, waiting log lines are written first.
 */
async function runGateway(settings: Settings, invocation: Invocation): Promise<ExitCode> {
  // Imported only here: a health probe runs every few seconds and must not load the whole gateway.
  const [{ startApp }, { makeLog, reportLostLines }] = await Promise.all([
    import('../app/app.ts'),
    import('../telemetry/log.ts'),
  ]);
  const { config } = settings;
  const { stderr, stdoutStream, version } = invocation;
  const replica = `${hostname()}-${process.pid}`;
  const clock = systemClock;
  const output = makeLogOutput({ sink: stdoutSink(), clock });
  const destination =
    stdoutStream.isTTY === true
      ? { write: (line: string) => output.write(printableJson(line)) }
      : output;
  const log = makeLog({ level: config.logLevel, replica, clock, destination });
  reportLostLines(log, output);
  process.on('exit', () => output.flushSync());
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'crash');
    // The reason for the crash must be visible even if the log is off.
    if (!log.isLevelEnabled('fatal')) stderr(`headgate: ${describeCrash(err)}\n`);
    process.exit(1);
  });
  const underNpm = invocation.env['npm_lifecycle_event'] !== undefined;
  const signals = listenToSignals({ clock, underNpm });
  invocation.releaseSignals();
  signals.onSecondStop((signal) => log.warn({ signal }, 'stopped at once'));
  try {
    const gateway = await startApp({
      settings,
      clock,
      random: systemRandom,
      log,
      replica,
      version,
      logLinesLost: () => output.linesLost,
      processFigures: true,
      env: invocation.env,
    });
    signals.onReload(() => gateway.reload(readSettings(invocation)));
    const signal = await signals.stop;
    // SIGTERM comes from an orchestrator, whose load balancer must notice first. Ctrl-C does not.
    await gateway.stop(signal === 'SIGTERM' ? 'after-delay' : 'at-once');
    return 0;
  } catch (err) {
    const listenFailure = describeListenFailure(err, config);
    if (listenFailure === undefined) log.fatal({ err }, 'cannot run');
    else stderr(`headgate: ${printable(listenFailure)}\n`);
    return 1;
  } finally {
    output.close();
  }
}

function describeCrash(err: unknown): string {
  const text = err instanceof Error ? (err.stack ?? err.message) : String(err);
  return text.split('\n').map(printable).join('\n');
}

/** The common errors of listen(2), bind(2) and getaddrinfo(3): what was expected, and the fault. */
const LISTEN_FAILURES: ReadonlyMap<string, { readonly expected: string; readonly fault: string }> =
  new Map([
    ['EADDRINUSE', { expected: 'a free address', fault: 'another process uses' }],
    ['EACCES', { expected: 'an address that this user may use', fault: 'needs more permissions' }],
    ['EADDRNOTAVAIL', { expected: 'an address of this host', fault: 'is not one' }],
    ['ENOTFOUND', { expected: 'a host name that resolves', fault: 'does not resolve' }],
  ]);

/** The properties that Node adds to an error of `listen`. */
interface FailedAddress {
  readonly address?: string;
  readonly hostname?: string;
  readonly port?: number;
}

/**
 * Describes in one line why a listener could not start, and which setting to change. Returns
 * `undefined` for other errors.
 */
function describeListenFailure(
  error: unknown,
  { adminListen }: Pick<Config, 'adminListen'>,
): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const failed: NodeJS.ErrnoException & FailedAddress = error;
  const { code, address, hostname } = failed;
  // Node states -1 for a Unix socket.
  const port = failed.port === -1 ? undefined : failed.port;
  const failure = LISTEN_FAILURES.get(code ?? '');
  const host = address ?? hostname;
  if (failure === undefined || host === undefined) return undefined;
  // The error for a name that does not resolve has no port.
  const setting =
    adminListen !== 'off' && isAt(adminListen, host, port)
      ? 'HEADGATE_ADMIN_LISTEN'
      : 'HEADGATE_LISTEN';
  const got = port === undefined ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return `${setting}: expected ${failure.expected}, got ${got}, which ${failure.fault} (${code})`;
}

/** Whether a listener has the address of an error: a host, perhaps with a port, or a socket's path. */
function isAt(listen: ListenAddress, host: string, port: number | undefined): boolean {
  if (isSocketPath(listen)) return host === listen.path;
  return host === listen.host && (port ?? listen.port) === listen.port;
}
