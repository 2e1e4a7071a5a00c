import { parseArgs } from 'node:util';
import { nearest } from '../config/nearest-word.ts';
import type { Command, Option } from './command.ts';

/** A command line, understood. */
export type CommandLine =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'command';
      readonly command: Command;
      readonly options: ReadonlyMap<string, string>;
      readonly operands: readonly string[];
    }
  /** `reason` names what was expected and what came. */
  | { readonly kind: 'wrong'; readonly reason: string };

/** Reads a command line against the commands there are; the first of them is the default. */
export function readCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
): CommandLine {
  const every = commands.flatMap(({ options }) => options);
  const { tokens } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    // Node's own refusals are long and speak of its API: what is unknown is said below.
    strict: false,
    tokens: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
      ...Object.fromEntries(every.map(({ name, value }) => [name, { type: typeOf(value) }])),
    },
  });
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []));
  const given = tokens.flatMap((token) => (token.kind === 'option' ? [token] : []));
  if (given.some(({ name }) => name === 'help')) return { kind: 'help' };
  if (given.some(({ name }) => name === 'version')) return { kind: 'version' };
  // Before the command: what follows an unknown option may be its value, and no command.
  for (const { name, rawName } of given) {
    if (every.some((known) => known.name === name)) continue;
    const known = [...new Set(every.map((option) => `--${option.name}`))];
    return wrong(`expected one of ${known.join(', ')}, got ${rawName}`, nearest(rawName, known));
  }

  const [name = commands[0]?.name ?? '', ...operands] = words;
  const command = commands.find((known) => known.name === name);
  if (command === undefined) {
    const names = commands.map((known) => known.name);
    return wrong(`expected one of ${names.join(', ')}, got ${name}`, nearest(name, names));
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
  if (option === undefined) {
    const known = command.options.map(({ name }) => `--${name}`);
    const expected = known.length === 0 ? 'no option' : `one of ${known.join(', ')}`;
    return wrong(`expected ${expected} with ${command.name}, got ${rawName}`);
  }
  if (option.value !== undefined && (value === undefined || value === '')) {
    return wrong(`expected ${rawName} ${option.value}, got ${rawName} alone`);
  }
  if (option.value === undefined && value !== undefined) {
    return wrong(`expected ${rawName} alone, got ${rawName}=${value}`);
  }
  return undefined;
}

function wrong(reason: string, meant?: string): CommandLine {
  return {
    kind: 'wrong',
    reason: meant === undefined ? reason : `${reason}; did you mean ${meant}?`,
  };
}

function typeOf(value: string | undefined): 'string' | 'boolean' {
  return value === undefined ? 'boolean' : 'string';
}
