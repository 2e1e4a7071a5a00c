/** The position of a string in a JSON text, with its quotes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const SPACE = /[ \t\r\n]/;
const MAX_DEPTH = 64;

/**
 * Finds the strings at `pointers` in a JSON text; returns their positions in the order of the text.
 * `pointers` are JSON pointers (RFC 6901) to members of objects, such as `/links/next`.
 *
 * The text is scanned and not parsed, so that a string can be replaced while all other characters
 * stay the same: numbers, spaces, order. If the text is cut off or not valid JSON, the result has the strings
 * before the error. Never throws.
 */
export function findStrings(text: string, pointers: readonly string[]): Span[] {
  const searched = new Set(pointers);
  const found: Span[] = [];
  let at = 0;

  function skipSpace(): void {
    while (at < text.length && SPACE.test(text.charAt(at))) at++;
  }

  /** Skips a string; returns false if there is none. */
  function skipString(): boolean {
    if (text.charAt(at) !== '"') return false;
    for (at++; at < text.length; at++) {
      const character = text.charAt(at);
      if (character === '\\') at++;
      else if (character === '"') {
        at++;
        return true;
      }
    }
    return false;
  }

  /** Skips a whole value, without looking for pointers in it. */
  function skipValue(): boolean {
    let depth = 0;
    while (at < text.length) {
      const character = text.charAt(at);
      if (character === '"') {
        if (!skipString()) return false;
        if (depth === 0) return true;
        continue;
      }
      if (character === '{' || character === '[') depth++;
      else if (character === '}' || character === ']') {
        // This ends the enclosing object or array, so the value was a number or a literal.
        if (depth === 0) return true;
        depth--;
        if (depth === 0) {
          at++;
          return true;
        }
      } else if (character === ',' && depth === 0) return true;
      at++;
    }
    return depth === 0;
  }

  /** Scans an object that pointers lead into. */
  function scanObject(path: string, depth: number): boolean {
    at++;
    for (;;) {
      skipSpace();
      if (text.charAt(at) === '}') {
        at++;
        return true;
      }
      const from = at;
      if (!skipString()) return false;
      const key = text.slice(from + 1, at - 1);
      skipSpace();
      if (text.charAt(at) !== ':') return false;
      at++;
      if (!scanMember(`${path}/${key}`, depth)) return false;
      skipSpace();
      if (text.charAt(at) === ',') at++;
      else if (text.charAt(at) !== '}') return false;
    }
  }

  function scanMember(path: string, depth: number): boolean {
    skipSpace();
    const start = at;
    const leadsInto = pointers.some((pointer) => pointer.startsWith(`${path}/`));
    const isScanned = text.charAt(at) === '{' && leadsInto && depth < MAX_DEPTH;
    if (isScanned) return scanObject(path, depth + 1);
    if (text.charAt(at) !== '"') return skipValue();
    if (!skipString()) return false;
    if (searched.has(path)) found.push({ start, end: at });
    return true;
  }

  // A byte order mark in UTF-8, one character per byte or decoded.
  if (text.startsWith('\u00ef\u00bb\u00bf')) at = 3;
  else if (text.startsWith('\ufeff')) at = 1;
  skipSpace();
  if (text.charAt(at) === '{') scanObject('', 0);
  return found;
}
