const START = '<!-- settings -->';
const END = '<!-- /settings -->';

/** Returns `text` with `table` between its two settings marks. Throws if the marks are missing. */
export function withSettingsTable(text: string, table: string): string {
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start === -1 || end < start) throw new Error(`expected ${START} and then ${END}`);
  return `${text.slice(0, start + START.length)}\n\n${table}\n\n${text.slice(end)}`;
}
