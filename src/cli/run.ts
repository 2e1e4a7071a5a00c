import { checkConfigCommand } from './check-config.ts';
import type { Command, ExitCode, Surroundings } from './command.ts';
import { readCommandLine } from './command-line.ts';
import { healthCommand } from './health.ts';
import { helpText } from './help.ts';
import { logsCommand } from './logs.ts';
import { serveCommand } from './serve.ts';

/** Everything Headgate does, and the only place to add a command; the first is the default. */
export const COMMANDS: readonly Command[] = [
  serveCommand,
  checkConfigCommand,
  healthCommand,
  logsCommand,
];

/** Runs a command line; resolves to the exit code: 0 well, 1 failed, 2 wrong use or settings. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  const { stdout, stderr, version } = surroundings;
  const line = readCommandLine(argv, COMMANDS);
  switch (line.kind) {
    case 'help':
      stdout(helpText(COMMANDS));
      return 0;
    case 'version':
      stdout(`${version}\n`);
      return 0;
    case 'wrong':
      stderr(`headgate: ${line.reason}\nheadgate --help lists the commands and options.\n`);
      return 2;
    case 'command':
      return line.command.run({
        ...surroundings,
        options: line.options,
        operands: line.operands,
      });
    default:
      return line satisfies never;
  }
}
