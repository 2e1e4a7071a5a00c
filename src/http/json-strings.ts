/** Where a string stands in a JSON text, its quotes included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const SPACE = /[ \t\r\n]/;
const DEEPEST = 64;

/**
 * Finds the strings at `pointers` (RFC 6901, object members only: `/links/next`) in a JSON text, in
 * the order in which they stand there. Nothing is parsed into values and printed again, so that
 * whoever replaces them leaves every other character as it was: numbers, spaces, order.
 *
 * A text that is not JSON up to the last of them yields what was found before; it never throws.
 */
export function findStrings(text: string, pointers: readonly string[]): Span[] {
  const wanted = new Set(pointers);
  const found: Span[] = [];
  let at = 0;

  function skipSpace(): void {
    while (at < text.length && SPACE.test(text.charAt(at))) at++;
  }

  /** StepLoop over a string; says whether there was one. */
  function string(): boolean {
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

  /** StepLoop over an object, array or string at once; what is not a wanted member is not looked into. */
  function skipValue(): boolean {
    let depth = 0;
    while (at < text.length) {
      const character = text.charAt(at);
      if (character === '"') {
        if (!string()) return false;
        if (depth === 0) return true;
        continue;
      }
      if (character === '{' || character === '[') depth++;
      else if (character === '}' || character === ']') {
        // The end of what holds us: a number or a word ended here.
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

  /** Walks an object whose members may be wanted. */
  function object(path: string, depth: number): boolean {
    at++;
    for (;;) {
      skipSpace();
      if (text.charAt(at) === '}') {
        at++;
        return true;
      }
      const from = at;
      if (!string()) return false;
      const key = text.slice(from + 1, at - 1);
      skipSpace();
      if (text.charAt(at) !== ':') return false;
      at++;
      if (!member(`${path}/${key}`, depth)) return false;
      skipSpace();
      if (text.charAt(at) === ',') at++;
      else if (text.charAt(at) !== '}') return false;
    }
  }

  function member(path: string, depth: number): boolean {
    skipSpace();
    const start = at;
    const leadsOn = pointers.some((pointer) => pointer.startsWith(`${path}/`));
    if (text.charAt(at) === '{' && leadsOn && depth < DEEPEST) return object(path, depth + 1);
    if (text.charAt(at) !== '"') return skipValue();
    if (!string()) return false;
    if (wanted.has(path)) found.push({ start, end: at });
    return true;
  }

  skipSpace();
  if (text.charAt(at) === '{') object('', 0);
  return found;
}
