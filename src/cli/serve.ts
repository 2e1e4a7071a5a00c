import { hostname } from 'node:os';
import type { Config, Settings } from '../config/config.ts';
import { SettingProblem } from '../config/setting-problem.ts';
import { isSocketPath, type ListenAddress } from '../config/values.ts';
import { authorityOf } from '../http/authority.ts';
import { printable, printableJson } from '../logs/terminal-text.ts';
import { systemRandom, systemClock } from '../util/system-clock.ts';
import { makeLogOutput } from '../telemetry/log-output.ts';
import type { RunningGateway } from '../app/app.ts';
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
import { readableStart } from './terminal-start.ts';

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the gateway',
  options: [CONFIG_OPTION],
  settings: 'all',
  run: withSettings(runGateway, logProblems),
};

/**
 * Logs why the gateway cannot start, for collectors that read standard output alone. A terminal shows
 * the same on standard error.
 */
async function logProblems(
  problems: readonly string[],
  { stdoutStream }: Invocation,
): Promise<void> {
  if (stdoutStream.isTTY === true) return;
  const { makeLog } = await import('../telemetry/log.ts');
  const clock = systemClock;
  const output = makeLogOutput({ sink: stdoutSink(), clock });
  const log = makeLog({ level: 'fatal', replica: replicaName(), clock, destination: output });
  for (const problem of problems) log.fatal({ problem }, 'cannot run');
  output.close();
}

function replicaName(): string {
  return `${hostname()}-${process.pid}`;
}

/**
 * Runs the gateway until a signal stops it. Resolves to the exit code.
 *
 * SIGTERM drains it after the drain delay, SIGINT drains it at once. A second signal cuts the calls
 * off and ends the process. SIGHUP reloads the settings. However the process ends, waiting log lines
 * are written first.
 */
async function runGateway(settings: Settings, invocation: Invocation): Promise<ExitCode> {
  // Imported only here: a health probe runs every few seconds and must not load the whole gateway.
  const [{ startApp }, { makeLog, reportLostLines }, { formatLines }] = await Promise.all([
    import('../app/app.ts'),
    import('../telemetry/log.ts'),
    import('../telemetry/log-format.ts'),
  ]);
  const { config } = settings;
  const { stderr, stdoutStream, version } = invocation;
  const replica = replicaName();
  const clock = systemClock;
  const output = makeLogOutput({ sink: stdoutSink(), clock });
  const printed = { write: (line: string) => output.write(printableJson(line)) };
  const isTerminal = stdoutStream.isTTY === true && config.logFormat === 'native';
  const log = makeLog({
    level: config.logLevel,
    replica,
    clock,
    destination: isTerminal
      ? readableStart(version, printed)
      : formatLines(config.logFormat, stdoutStream.isTTY === true ? printed : output),
  });
  reportLostLines(log, output);
  process.on('exit', () => output.flushSync());
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'crash');
    // The reason for the crash must be visible even if the log is off.
    if (!log.isLevelEnabled('fatal')) stderr(`headgate: ${describeCrash(err)}\n`);
    process.exit(1);
  });
  const underNpm = invocation.env['npm_lifecycle_event'] !== undefined;
  const signals = listenToSignals({
    clock,
    underNpm,
    exit: (code) => process.exit(code),
  });
  invocation.releaseSignals();
  let gateway: RunningGateway | undefined;
  signals.onSecondStop(async (signal) => {
    log.warn({ signal }, 'stopped at once');
    await gateway?.cutOff();
  });
  try {
    const running = await startApp({
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
    gateway = running;
    signals.onReload(() => running.reload(readSettings(invocation)));
    const signal = await signals.stop;
    // SIGTERM comes from an orchestrator, whose load balancer must notice first. Ctrl-C does not.
    await running.stop(signal === 'SIGTERM' ? 'after-delay' : 'at-once');
    return 0;
  } catch (err) {
    if (err instanceof SettingProblem) {
      stderr(`headgate: ${printable(err.message)}\n`);
      if (stdoutStream.isTTY !== true) log.fatal({ problem: err.message }, 'cannot run');
      return 2;
    }
    const listenFailure = describeListenFailure(err, config);
    if (listenFailure === undefined) log.fatal({ err }, 'cannot run');
    else {
      stderr(`headgate: ${printable(listenFailure)}\n`);
      if (stdoutStream.isTTY !== true) log.fatal({ problem: listenFailure }, 'cannot run');
    }
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
  { adminListen, intercept }: Pick<Config, 'adminListen' | 'intercept'>,
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
      : intercept !== undefined && isAt(intercept.listen, host, port)
        ? 'HEADGATE_INTERCEPT_LISTEN'
        : 'HEADGATE_LISTEN';
  const got = port === undefined ? host : authorityOf(host, port);
  return `${setting}: expected ${failure.expected}, got ${got}, which ${failure.fault} (${code})`;
}

/** Whether a listener has the address of an error: a host, perhaps with a port, or a socket's path. */
function isAt(listen: ListenAddress, host: string, port: number | undefined): boolean {
  if (isSocketPath(listen)) return host === listen.path;
  return host === listen.host && (port ?? listen.port) === listen.port;
}
