import { readFileSync } from 'node:fs';
import { ROOT } from '../support/spawned.ts';

/** Reads a file of the project, by its path from the top folder. */
export function read(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8');
}

/** Returns the cells of all table rows in `text`, without heads and rules. */
export function tableRows(text: string): string[][] {
  const rows = text.split('\n').map((line) => /^\|(.*)\|$/.exec(line)?.[1]);
  const cells = rows.map((row) => row?.split('|').map((cell) => cell.trim()));
  const isRule = (row: string[] | undefined): boolean =>
    row?.every((cell) => /^-+$/.test(cell)) ?? false;
  return cells.filter(
    (row, i): row is string[] => row !== undefined && !isRule(row) && !isRule(cells[i + 1]),
  );
}

/** Returns the section under `heading`, up to the next heading of its level or above. */
export function section(text: string, heading: string): string {
  const [marks = '#'] = heading.split(' ');
  const start = text.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`there is no section ${heading}`);
  const rest = text.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${marks.length}} `, 'm'));
  return end === -1 ? rest : rest.slice(0, end);
}

/** Returns the words that are marked as `code` in `text`. */
export function codeWords(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
}
