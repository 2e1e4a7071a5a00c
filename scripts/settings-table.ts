import { SETTINGS } from '../src/config/settings.ts';

/** The settings as a Markdown table, for docs/configuration.md. */
export function settingsTable(): string {
  const rows = Object.values(SETTINGS).map(({ variable, fallback, doc }) => {
    return `| \`${variable}\` | ${fallback === undefined ? '–' : `\`${fallback}\``} | ${doc} |`;
  });
  return ['| setting | default | what it does |', '| --- | --- | --- |', ...rows].join('\n');
}

const START = '<!-- settings -->';
const END = '<!-- /settings -->';

/** Returns `text` with `table` between its two settings marks. Throws if the marks are missing. */
export function withSettingsTable(text: string, table: string): string {
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start === -1 || end < start) throw new Error(`expected ${START} and then ${END}`);
  return `${text.slice(0, start + START.length)}\n\n${table}\n\n${text.slice(end)}`;
}
