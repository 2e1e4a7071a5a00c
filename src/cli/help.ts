import type { Command, Option } from './command.ts';

const COMMON_OPTIONS: readonly Option[] = [
  { name: 'help', summary: 'print this text' },
  { name: 'version', summary: 'print the version' },
];

/** The text that `--help` prints. */
export function helpText(commands: readonly Command[]): string {
  const commandRows = commands.map(({ name, operands, summary }, i): Row => [
    operands === undefined ? name : `${name} ${operands}`,
    i === 0 ? `${summary} (the default)` : summary,
  ]);
  const sections = optionGroups(commands).map(
    ({ owners, options }) =>
      `Options of ${owners.join(', ')}\n${table(options.map(optionRow))}\n\n`,
  );
  return `Usage: headgate [command] [options]

Commands
${table(commandRows)}

${sections.join('')}Options of every command
${table(COMMON_OPTIONS.map(optionRow))}

Settings are environment variables (HEADGATE_…) or keys of the file; docs/configuration.md lists them.
Exit codes: 0 success, 1 failure, 2 wrong usage or settings.
`;
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
