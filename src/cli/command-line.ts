import { parseArgs } from 'node:util';
import { nearestWord } from '../config/nearest-word.ts';
import type { Command, Option } from './command.ts';

/** A parsed command line. */
export type CommandLine =
  /** With a command, the help of that command alone. */
  | { readonly kind: 'help'; readonly command: Command | undefined }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'command';
      readonly command: Command;
      readonly options: ReadonlyMap<string, string>;
      readonly operands: readonly string[];
    }
  /** `reason` states what was expected and what the command line has. */
  | { readonly kind: 'wrong'; readonly reason: string };

/**
 * Parses a command line for these commands. Without any argument it asks for help. Options alone are
 * for the first command.
 */
export function readCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
): CommandLine {
  const allOptions = commands.flatMap(({ options }) => options);
  const { tokens } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    // Not strict: Node's own messages are long and mention its API. Unknown options are reported below.
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
      ...Object.fromEntries(allOptions.map(({ name, value }) => [name, { type: typeOf(value) }])),
    },
  });
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const given = tokens.flatMap((token) => (token.kind === 'option' ? [token] : []));
  if (argv.length === 0) return { kind: 'help', command: undefined };
  if (given.some(({ name }) => name === 'help')) {
    return { kind: 'help', command: commands.find(({ name }) => name === words[0]) };
  }
  if (given.some(({ name }) => name === 'version')) return { kind: 'version' };
  // Options first: the word after an unknown option may be its value rather than a command.
  for (const { name, rawName } of given) {
    if (allOptions.some((known) => known.name === name)) continue;
    const ofCommand = commands.find((one) => one.name === words[0]);
    return unknownOption(rawName, ofCommand?.options ?? allOptions, ofCommand);
  }

  const [name = commands[0]?.name ?? '', ...operands] = words;
  const command = commands.find((known) => known.name === name);
  if (command === undefined) {
    const names = commands.map((known) => known.name);
    return wrong(`expected one of ${names.join(', ')}, got ${name}`, nearestWord(name, names));
  }
  const options = new Map<string, string>();
  for (const { name: option, rawName, value } of given) {
    const known = command.options.find((one) => one.name === option);
    const problem = optionProblem(command, known, rawName, value);
    if (problem !== undefined) return problem;
    options.set(option, value ?? '');
  }
  if (operands.length > 0 && command.operands === undefined) {
    return wrong(`expected nothing after ${name}, got ${operands.join(' ')}`);
  }
  return { kind: 'command', command, options, operands };
}

function optionProblem(
  command: Command,
  option: Option | undefined,
  rawName: string,
  value: string | undefined,
): CommandLine | undefined {
  if (option === undefined) return unknownOption(rawName, command.options, command);
  if (option.value !== undefined && (value === undefined || value === '')) {
    return wrong(`expected ${rawName} ${option.value}, got ${rawName} alone`);
  }
  if (option.value === undefined && value !== undefined) {
    return wrong(`expected ${rawName} alone, got ${rawName}=${value}`);
  }
  return undefined;
}

/** More options than this are not listed. */
const MAX_LISTED = 5;

/** `command`: the one whose options are known; absent: they are those of all commands. */
function unknownOption(
  rawName: string,
  options: readonly Option[],
  command: Command | undefined,
): CommandLine {
  const names = [...new Set(options.map(({ name }) => `--${name}`))];
  return wrong(
    `expected ${expectedOf(names, command)}, got ${rawName}`,
    nearestWord(rawName, names),
  );
}

function expectedOf(names: readonly string[], command: Command | undefined): string {
  if (names.length > MAX_LISTED) {
    const words = command === undefined ? [] : [command.name];
    return `an option that ${['headgate', ...words, '--help'].join(' ')} lists`;
  }
  const listed = names.length === 0 ? 'no option' : `one of ${names.join(', ')}`;
  return command === undefined ? listed : `${listed} with ${command.name}`;
}

function wrong(reason: string, suggestion?: string): CommandLine {
  return {
    kind: 'wrong',
    reason: suggestion === undefined ? reason : `${reason}; did you mean ${suggestion}?`,
  };
}

function typeOf(value: string | undefined): 'string' | 'boolean' {
  return value === undefined ? 'boolean' : 'string';
}
