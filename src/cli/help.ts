import type { Command, Option } from './command.ts';

const ALWAYS: readonly Option[] = [
  { name: 'help', summary: 'this text' },
  { name: 'version', summary: 'the version' },
];

/** What `--help` prints, from the commands there are. */
export function helpText(commands: readonly Command[]): string {
  const options = new Map(
    [...commands.flatMap((command) => command.options), ...ALWAYS].map((option) => [
      option.name,
      option,
    ]),
  );
  const commandRows = commands.map(({ name, operands, summary }, i): Row => [
    operands === undefined ? name : `${name} ${operands}`,
    i === 0 ? `${summary} (the default)` : summary,
  ]);
  const optionRows = [...options.values()].map(({ name, value, summary }): Row => [
    value === undefined ? `--${name}` : `--${name} ${value}`,
    summary,
  ]);
  return `Usage: headgate [command] [options]

Commands
${table(commandRows)}

Options
${table(optionRows)}

Settings are environment variables (HEADGATE_…) or the file's keys; the README lists them.
Exit codes: 0 well, 1 failed, 2 wrong use or settings.
`;
}

type Row = readonly [left: string, right: string];

function table(rows: readonly Row[]): string {
  const widest = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(widest)}  ${right}`).join('\n');
}
