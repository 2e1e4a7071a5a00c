import { SETTINGS, type Setting } from '../config/settings.ts';
import type { Command, Option } from './command.ts';

const COMMON_OPTIONS: readonly Option[] = [
  { name: 'help', summary: 'print this text' },
  { name: 'version', summary: 'print the version' },
];

/** The text that `--help` prints. */
export function helpText(commands: readonly Command[]): string {
  const commandRows = commands.map(({ name, operands, summary }): Row => [
    operands === undefined ? name : `${name} ${operands}`,
    summary,
  ]);
  const sections = optionGroups(commands).map(
    ({ owners, options }) =>
      `Options of ${owners.join(', ')}\n${table(options.map(optionRow))}\n\n`,
  );
  return `Usage: headgate <command> [options]

Commands
${table(commandRows)}

${sections.join('')}Options of every command
${table(COMMON_OPTIONS.map(optionRow))}

headgate <command> --help explains one command. Settings are environment variables (HEADGATE_…) or keys of the file; docs/configuration.md lists them.
Exit codes: 0 success, 1 failure, 2 wrong usage or settings.
`;
}

/** The text that `--help` prints with a command: its options, and the settings that it uses. */
export function commandHelp({ name, summary, operands, options, settings }: Command): string {
  const usage = ['headgate', name, ...(options.length > 0 ? ['[options]'] : [])];
  if (operands !== undefined) usage.push(operands);
  const used = Object.values(SETTINGS).filter(
    ({ variable }) => settings === 'all' || settings?.includes(variable) === true,
  );
  const parts = [
    `Usage: ${usage.join(' ')}\n\n${summary}`,
    `Options\n${table([...options, ...COMMON_OPTIONS].map(optionRow))}`,
  ];
  if (used.length > 0) parts.push(`Settings\n${used.map(describeSetting).join('\n')}`);
  return `${parts.join('\n\n')}\n`;
}

function describeSetting({ variable, fallback, doc }: Setting<unknown>): string {
  const preset = fallback === undefined ? '' : ` (default: ${fallback})`;
  return `  ${variable}${preset}\n      ${plainText(doc)}`;
}

/** A description without the marks of Markdown; of a link, its text. */
export function plainText(markdown: string): string {
  return markdown.replaceAll(/\[([^[\]]*)\]\([^()]*\)/g, '$1').replaceAll(/`|\*\*/g, '');
}

interface OptionGroup {
  /** The names of the commands that take these options. */
  readonly owners: readonly string[];
  readonly options: Option[];
}

/** Groups the options by the commands that take them. */
function optionGroups(commands: readonly Command[]): OptionGroup[] {
  const groups = new Map<string, OptionGroup>();
  const seen = new Set<string>();
  for (const option of commands.flatMap(({ options }) => options)) {
    if (seen.has(option.name)) continue;
    seen.add(option.name);
    const owners = commands
      .filter(({ options }) => options.some(({ name }) => name === option.name))
      .map(({ name }) => name);
    const key = owners.join();
    const group = groups.get(key) ?? { owners, options: [] };
    group.options.push(option);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function optionRow({ name, value, summary }: Option): Row {
  return [value === undefined ? `--${name}` : `--${name} ${value}`, summary];
}

type Row = readonly [left: string, right: string];

function table(rows: readonly Row[]): string {
  const widest = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(widest)}  ${right}`).join('\n');
}
