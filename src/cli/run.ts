import { checkConfigCommand } from './check-config.ts';
import type { Command, CommandContext, ExitCode } from './command.ts';
import { readCommandLine } from './command-line.ts';
import { envCommand } from './env.ts';
import { healthCommand } from './health.ts';
import { helpText } from './help.ts';
import { logsCommand } from './logs.ts';
import { serveCommand } from './serve.ts';
import { printable } from '../logs/terminal-text.ts';

/** All commands. The first one is the default. */
export const COMMANDS: readonly Command[] = [
  serveCommand,
  checkConfigCommand,
  healthCommand,
  envCommand,
  logsCommand,
];

/** Runs a command line. Resolves to its exit code. */
export async function run(argv: readonly string[], context: CommandContext): Promise<ExitCode> {
  const { stdout, stderr, version } = context;
  const line = readCommandLine(argv, COMMANDS);
  switch (line.kind) {
    case 'help':
      stdout(helpText(COMMANDS));
      return 0;
    case 'version':
      stdout(`${version}\n`);
      return 0;
    case 'wrong':
      stderr(
        `headgate: ${printable(line.reason)}\nheadgate --help lists the commands and options.\n`,
      );
      return 2;
    case 'command':
      return line.command.run({
        ...context,
        options: line.options,
        operands: line.operands,
      });
    default:
      return line satisfies never;
  }
}
