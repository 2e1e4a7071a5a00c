/** The position of a string in a JSON text, with its quotes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const MAX_DEPTH = 64;
/** A longer key is in no pointer. */
const MAX_KEY = 1024;

/**
 * Finds the strings at `pointers` in a JSON text; returns their positions in the order of the text.
 * `pointers` are JSON pointers (RFC 6901) to members of objects, such as `/links/next`.
 *
 * The text is scanned and not parsed, so that a string can be replaced while all other characters
 * stay the same: numbers, spaces, order. If the text is cut off or not valid JSON, the result has the strings
 * before the error. Never throws.
 */
export function findStrings(text: string, pointers: readonly string[]): Span[] {
  return new JsonStringScanner(pointers).push(text);
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

type State =
  /** Before the first object. */
  | 'start'
  /** Before a key, or the end of an object that pointers lead into. */
  | 'member'
  | 'key'
  | 'colon'
  | 'value'
  /** In a string that is a member of such an object. */
  | 'string'
  /** In any other value. */
  | 'skip'
  | 'after'
  /** The document has ended, or is not valid. */
  | 'done';

/** {@link findStrings} for a text that arrives in parts. Positions count from its beginning. */
export class JsonStringScanner {
  readonly #pointers: readonly string[];
  readonly #searched: ReadonlySet<string>;
  /** The paths of the open objects that pointers lead into. */
  readonly #open: string[] = [];
  #state: State = 'start';
  /** How many characters were scanned before this part. */
  #before = 0;
  #key = '';
  #isEscaped = false;
  /** Of open objects and arrays in a value that is skipped. */
  #depth = 0;
  #isInString = false;
  #stringAt: number | undefined;

  constructor(pointers: readonly string[]) {
    this.#pointers = pointers;
    this.#searched = new Set(pointers);
  }

  /** Where a string at a pointer begins whose end has not arrived. */
  get openString(): number | undefined {
    return this.#stringAt;
  }

  /** Does not report the string whose end has not arrived. */
  ignoreOpenString(): void {
    this.#stringAt = undefined;
  }

  /** Scans the next part, and returns the strings at pointers that end in it. */
  push(text: string): Span[] {
    const found: Span[] = [];
    for (let at = 0; at < text.length && this.#state !== 'done';) {
      if (this.#state === 'skip') at = this.#skip(text, at);
      else if (this.#take(text.charAt(at), this.#before + at, found)) at++;
    }
    this.#before += text.length;
    return found;
  }

  /** Takes a character; returns false if the next state must take it instead. */
  #take(character: string, at: number, found: Span[]): boolean {
    switch (this.#state) {
      case 'start':
        if (!isSpace(character) && !isByteOrderMark(character, at)) {
          this.#open.push('');
          this.#state = character === '{' ? 'member' : 'done';
        }
        return true;
      case 'member':
        if (character === '"') {
          this.#key = '';
          this.#state = 'key';
        } else if (character === '}') this.#close();
        else if (!isSpace(character)) this.#state = 'done';
        return true;
      case 'key':
        if (this.#endsString(character)) this.#state = 'colon';
        else if (this.#key.length < MAX_KEY) this.#key += character;
        return true;
      case 'colon':
        if (character === ':') this.#state = 'value';
        else if (!isSpace(character)) this.#state = 'done';
        return true;
      case 'value':
        return isSpace(character) || this.#begin(character, at);
      case 'string':
        if (!this.#endsString(character)) return true;
        if (this.#stringAt !== undefined) found.push({ start: this.#stringAt, end: at + 1 });
        this.#stringAt = undefined;
        this.#state = 'after';
        return true;
      case 'after':
        if (character === ',') this.#state = 'member';
        else if (character === '}') this.#close();
        else if (!isSpace(character)) this.#state = 'done';
        return true;
      case 'skip':
      case 'done':
        return true;
      default:
        return this.#state satisfies never;
    }
  }

  /** Begins the value of the key. */
  #begin(character: string, at: number): boolean {
    const path = `${this.#open.at(-1) ?? ''}/${this.#key}`;
    const leadsInto = this.#pointers.some((pointer) => pointer.startsWith(`${path}/`));
    if (character === '{' && leadsInto && this.#open.length <= MAX_DEPTH) {
      this.#open.push(path);
      this.#state = 'member';
      return true;
    }
    if (character === '"') {
      if (this.#searched.has(path)) this.#stringAt = at;
      this.#state = 'string';
      return true;
    }
    this.#depth = 0;
    this.#isInString = false;
    this.#state = 'skip';
    return false;
  }

  /** Skips a value, which is most of a long text; returns the position behind it. */
  #skip(text: string, from: number): number {
    let depth = this.#depth;
    let isString = this.#isInString;
    for (let at = from; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (isString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (code === BACKSLASH) this.#isEscaped = true;
        else if (code === QUOTE) {
          isString = false;
          if (depth === 0) return this.#endValue(at + 1);
        }
      } else if (code === QUOTE) isString = true;
      else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
      else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
        // This ends the enclosing object or array, so the value was a number or a literal.
        if (depth === 0) return this.#endValue(at);
        depth--;
        if (depth === 0) return this.#endValue(at + 1);
      } else if (code === COMMA && depth === 0) return this.#endValue(at);
    }
    this.#depth = depth;
    this.#isInString = isString;
    return text.length;
  }

  #endValue(at: number): number {
    this.#state = 'after';
    return at;
  }

  /** Whether a character of a string is its closing quote. */
  #endsString(character: string): boolean {
    if (this.#isEscaped) {
      this.#isEscaped = false;
      return false;
    }
    this.#isEscaped = character === '\\';
    return character === '"';
  }

  #close(): void {
    this.#open.pop();
    this.#state = this.#open.length === 0 ? 'done' : 'after';
  }
}

function isSpace(character: string): boolean {
  return character === ' ' || character === '\n' || character === '\r' || character === '\t';
}

/** A byte order mark in UTF-8, one character per byte or decoded. */
function isByteOrderMark(character: string, at: number): boolean {
  return at < 3 && ('\u00ef\u00bb\u00bf'.charAt(at) === character || character === '\ufeff');
}
