import { hostname } from 'node:os';
import type { Config } from '../config/config.ts';
import { systemChance, systemClock } from '../system-clock.ts';
import { CONFIG_OPTION, withSettings, type Command, type ExitCode } from './command.ts';
import { describeListenFailure } from './listen-failure.ts';

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the gateway',
  options: [CONFIG_OPTION],
  run: withSettings(({ config }, { stderr }) => serve(config, stderr)),
};

/**
 * Runs the gateway until it is told to stop. SIGTERM and SIGINT drain it; a second one ends the
 * process at once. Resolves to the exit code.
 */
async function serve(config: Config, stderr: (text: string) => void): Promise<ExitCode> {
  // Only now: a probe, every few seconds, must not load what only the gateway needs.
  const { compose } = await import('../compose.ts');
  const { makeLog, stdoutDestination } = await import('../telemetry/log.ts');
  const replica = `${hostname()}-${process.pid}`;
  const destination = stdoutDestination();
  const log = makeLog({ level: config.logLevel, replica, clock: systemClock, destination });
  // Whatever ends the process, the lines that wait are written first.
  process.on('exit', () => destination.flushSync());
  process.on('uncaughtException', (err) => {
    log.fatal({ err }, 'crash');
    process.exit(1);
  });
  try {
    const gateway = await compose({
      config,
      clock: systemClock,
      chance: systemChance,
      log,
      replica,
    });
    await stopSignal();
    await gateway.stop();
    return 0;
  } catch (err) {
    const known = describeListenFailure(err, config);
    if (known === undefined) log.fatal({ err }, 'cannot run');
    else stderr(`headgate: ${known}\n`);
    return 1;
  }
}

/** Resolves at the first signal to stop; the second ends the process, with a shell's exit code. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (_signal: NodeJS.Signals, code: number): void => {
      if (asked) process.exit(128 + code);
      asked = true;
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
