import { styleText } from 'node:util';

/** How texts and numbers are formatted for a terminal. */

export type Colour = 'red' | 'yellow' | 'green' | 'cyan' | 'magenta' | 'dim' | 'bold';

/** Colours a text, or returns it unchanged. */
export type Paint = (colour: Colour, text: string) => string;

export const plain: Paint = (_colour, text) => text;

export const coloured: Paint = (colour, text) =>
  // The command has already checked that the output is a terminal and that NO_COLOR is not set.
  styleText(colour, text, { validateStream: false });

/**
 * Control characters (C0, C1, DEL), format characters (which hide, join or reverse text), and line
 * separators.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Escapes the characters that a terminal would obey or hide, such as `\u{1b}`. Callers and the API
 * choose paths, names and headers, so a log could otherwise move the cursor, or show a false text.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}

/** The same characters, except the two that may stand in JSON and do no harm: tab and line feed. */
const UNPRINTABLE_IN_JSON = /[^\P{Cc}\t\n]|[\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Escapes the same characters in JSON for a terminal, such as `\u001b`. The value stays the same. A
 * line feed stays as it is: in JSON it can only stand between tokens, or end a line.
 */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE_IN_JSON, (one) =>
    // JSON allows it only between tokens, where no escape may be.
    one === '\r' ? ' ' : Array.from({ length: one.length }, (_, i) => unitEscape(one, i)).join(''),
  );
}

/** The UTF-16 code unit at `i` as JSON writes it. */
function unitEscape(text: string, i: number): string {
  return `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
}

/** Formats a duration for people: `0`, `83 ms`, `1.2 s`, `2m 05s`, `3h 07m`, `5d 02h`. */
export function readableDuration(ms: number): string {
  if (ms < 0.05) return '0';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return twoUnits(seconds, 60, 'm', 1, 's');
  if (seconds < 86_400) return twoUnits(seconds, 3600, 'h', 60, 'm');
  return twoUnits(seconds, 86_400, 'd', 3600, 'h');
}

function twoUnits(seconds: number, big: number, bigUnit: string, small: number, smallUnit: string) {
  const rest = Math.floor((seconds % big) / small);
  return `${Math.floor(seconds / big)}${bigUnit} ${String(rest).padStart(2, '0')}${smallUnit}`;
}
