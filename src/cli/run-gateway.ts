import { hostname } from 'node:os';
import { startApp } from '../app/app.ts';
import type { Settings } from '../config/live.ts';
import { systemRandom, systemClock } from '../util/system-clock.ts';
import { makeLog, tellLostLines } from '../telemetry/log.ts';
import { makeOutput } from '../telemetry/output.ts';
import { stdoutSink } from '../telemetry/stdout.ts';
import { readSettings, type ExitCode, type Invocation } from './command.ts';
import { describeListenFailure } from './listen-failure.ts';
import { listenToSignals } from './signals.ts';

/**
 * Runs the gateway until it is told to stop. SIGTERM and SIGINT drain it, SIGTERM after the drain
 * delay; a second one ends the process at once. SIGHUP has it read its settings again. Resolves to
 * the exit code. Whatever ends the process, the lines that wait are written first.
 */
export async function runGateway(settings: Settings, invocation: Invocation): Promise<ExitCode> {
  const { config } = settings;
  const { stderr, version } = invocation;
  const replica = `${hostname()}-${process.pid}`;
  const clock = systemClock;
  const output = makeOutput({ sink: stdoutSink(), clock });
  const log = makeLog({ level: config.logLevel, replica, clock, destination: output });
  tellLostLines(log, output);
  process.on('exit', () => output.flushSync());
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'crash');
    // A log that is off must not hide why the process ended.
    if (!log.isLevelEnabled('fatal')) stderr(`headgate: ${describeCrash(err)}\n`);
    process.exit(1);
  });
  const underNpm = invocation.env['npm_lifecycle_event'] !== undefined;
  const signals = listenToSignals({ clock, underNpm });
  signals.onImpatient((signal) => log.warn({ signal }, 'stopped at once'));
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
    // Who presses Ctrl-C has no load balancer that must first learn of it.
    await gateway.stop(signal === 'SIGTERM' ? 'after-delay' : 'at-once');
    return 0;
  } catch (err) {
    const known = describeListenFailure(err, config);
    if (known === undefined) log.fatal({ err }, 'cannot run');
    else stderr(`headgate: ${known}\n`);
    return 1;
  } finally {
    output.close();
  }
}

function describeCrash(err: unknown): string {
  return err instanceof Error ? (err.stack ?? err.message) : String(err);
}
