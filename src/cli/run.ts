import { caCommand } from './ca.ts';
import { checkConfigCommand } from './check-config.ts';
import type { Command, CommandContext, ExitCode } from './command.ts';
import { makeCompletionCommand } from './completion.ts';
import { readCommandLine } from './command-line.ts';
import { envCommand } from './env.ts';
import { healthCommand } from './health.ts';
import { commandHelp, helpText } from './help.ts';
import { logsCommand } from './logs.ts';
import { serveCommand } from './serve.ts';
import { printable } from '../logs/terminal-text.ts';

/** All commands. Options alone are for the first one. */
export const COMMANDS: readonly Command[] = [
  serveCommand,
  checkConfigCommand,
  healthCommand,
  envCommand,
  caCommand,
  logsCommand,
  makeCompletionCommand(() => COMMANDS),
];

/** Runs a command line. Resolves to its exit code. */
export async function run(argv: readonly string[], context: CommandContext): Promise<ExitCode> {
  const { stdout, stderr, version } = context;
  const line = readCommandLine(argv, COMMANDS);
  switch (line.kind) {
    case 'help':
      stdout(line.command === undefined ? helpText(COMMANDS) : commandHelp(line.command));
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
