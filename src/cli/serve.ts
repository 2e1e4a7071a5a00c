import { hostname } from 'node:os';
import { compose } from '../compose.ts';
import { systemChance, systemClock } from '../system-clock.ts';
import { makeLog, stdoutDestination } from '../telemetry/log.ts';
import {
  CONFIG_OPTION,
  withSettings,
  type Command,
  type ExitCode,
  type Settings,
} from './command.ts';
import { describeListenFailure } from './listen-failure.ts';

export const serveCommand: Command = {
  name: 'serve',
  summary: 'run the gateway',
  options: [CONFIG_OPTION],
  run: withSettings((settings, { stderr, version }) => serve(settings, version, stderr)),
};

/**
 * Runs the gateway until it is told to stop. SIGTERM and SIGINT drain it; a second one ends the
 * process at once. Resolves to the exit code.
 */
async function serve(
  { config, shown }: Settings,
  version: string,
  stderr: (text: string) => void,
): Promise<ExitCode> {
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
      settings: shown,
      version,
      logLinesLost: () => destination.dropped,
      processFigures: true,
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
