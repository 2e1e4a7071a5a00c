/** Control characters, and those that turn the direction of text: they could fake what one sees. */
const HARMFUL = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

/**
 * A text as a terminal may show it: what could move the cursor, recolour or rename the window comes
 * out as `\u{1b}`. Paths and User-Agents are the callers' to choose.
 */
export function printable(text: string): string {
  return text.replace(HARMFUL, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}
