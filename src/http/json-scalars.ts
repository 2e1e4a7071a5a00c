/** The position of a scalar in a JSON text: a string with its quotes, a number or a literal. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const MAX_DEPTH = 64;
/** A longer key is in no pointer. */
const MAX_KEY = 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

type State =
  /** Before the document. */
  | 'start'
  /** Before a key, or the end of an object that pointers lead into. */
  | 'member'
  /** Before an item, or the end of a list that pointers lead into. */
  | 'item'
  | 'key'
  | 'colon'
  | 'value'
  /** In a string that is a member or an item of these. */
  | 'string'
  /** In any other value. */
  | 'skip'
  | 'after'
  /** The document has ended, or is not valid. */
  | 'done';

/** An object or a list that pointers lead into, and whose end has not arrived. */
interface Open {
  readonly path: string;
  /** The position of the next item of a list; `undefined` in an object. */
  item: number | undefined;
}

/**
 * Finds the scalars at `pointers` in a JSON text that arrives in parts. `pointers` are JSON pointers
 * (RFC 6901), such as `/links/next` or `/items/0`.
 *
 * The text is scanned and not parsed, so that a string can be replaced while all other characters
 * stay the same: numbers, spaces, order. If the text is cut off or not valid JSON, the scalars before
 * the error are found. Never throws. Besides the state, only a key is kept.
 */
export class JsonScalarScanner {
  readonly #pointers: readonly string[];
  readonly #searched: ReadonlySet<string>;
  readonly #open: Open[] = [];
  #state: State = 'start';
  /** How many characters were scanned before this part. */
  #before = 0;
  #key = '';
  #isEscaped = false;
  /** Of open objects and lists in a value that is skipped. */
  #depth = 0;
  #isInString = false;
  #scalarAt: number | undefined;

  constructor(pointers: readonly string[]) {
    this.#pointers = pointers;
    this.#searched = new Set(pointers);
  }

  /** Where a scalar at a pointer begins whose end has not arrived. */
  get openScalar(): number | undefined {
    return this.#scalarAt;
  }

  /** Does not report the scalar whose end has not arrived. */
  ignoreOpenScalar(): void {
    this.#scalarAt = undefined;
  }

  /**
   * Scans the next part, and returns the scalars at pointers that end in it, in the order of the text.
   * Positions count from the beginning of the text. The position of a number or a literal may include
   * space after it.
   */
  push(text: string): Span[] {
    const found: Span[] = [];
    for (let at = 0; at < text.length && this.#state !== 'done';) {
      if (this.#state === 'skip') at = this.#skip(text, at, found);
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
          if (!this.#enter(character, '')) this.#state = 'done';
        }
        return true;
      case 'member':
        if (character === '"') {
          this.#key = '';
          this.#state = 'key';
        } else if (character === '}') this.#close();
        else if (!isSpace(character)) this.#state = 'done';
        return true;
      case 'item':
        if (isSpace(character)) return true;
        if (character === ']') {
          this.#close();
          return true;
        }
        this.#state = 'value';
        return false;
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
        this.#endValue(at + 1, found);
        return true;
      case 'after':
        if (character === ',') this.#next();
        else if (character === '}' || character === ']') this.#close();
        else if (!isSpace(character)) this.#state = 'done';
        return true;
      case 'skip':
      case 'done':
        return true;
      default:
        return this.#state satisfies never;
    }
  }

  /** Begins the value of the key, or the item. */
  #begin(character: string, at: number): boolean {
    const { path: parent = '', item = this.#keyInPointer() } = this.#open.at(-1) ?? {};
    const path = `${parent}/${item}`;
    if (this.#enter(character, path)) return true;
    const isScalar = character !== '{' && character !== '[';
    if (isScalar && this.#searched.has(path)) this.#scalarAt = at;
    if (character === '"') {
      this.#state = 'string';
      return true;
    }
    this.#depth = 0;
    this.#isInString = false;
    this.#state = 'skip';
    return false;
  }

  /** The key as pointers have it. */
  #keyInPointer(): string {
    const key = this.#key;
    return WITH_ESCAPES.test(key) ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key;
  }

  /** Enters an object or a list if pointers lead into it. */
  #enter(character: string, path: string): boolean {
    if (character !== '{' && character !== '[') return false;
    if (this.#open.length > MAX_DEPTH) return false;
    if (!this.#pointers.some((pointer) => pointer.startsWith(`${path}/`))) return false;
    const isList = character === '[';
    this.#open.push({ path, item: isList ? 0 : undefined });
    this.#state = isList ? 'item' : 'member';
    return true;
  }

  #next(): void {
    const open = this.#open.at(-1);
    if (open?.item === undefined) {
      this.#state = 'member';
      return;
    }
    open.item++;
    this.#state = 'item';
  }

  /** Skips a value, which is most of a long text; returns the position behind it. */
  #skip(text: string, from: number, found: Span[]): number {
    let depth = this.#depth;
    let isString = this.#isInString;
    const end = (at: number): number => {
      this.#endValue(this.#before + at, found);
      return at;
    };
    for (let at = from; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (isString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (code === BACKSLASH) this.#isEscaped = true;
        else if (code === QUOTE) {
          isString = false;
          if (depth === 0) return end(at + 1);
        }
      } else if (code === QUOTE) isString = true;
      else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
      else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
        // This ends the enclosing object or list, so the value was a number or a literal.
        if (depth === 0) return end(at);
        depth--;
        if (depth === 0) return end(at + 1);
      } else if (code === COMMA && depth === 0) return end(at);
    }
    this.#depth = depth;
    this.#isInString = isString;
    return text.length;
  }

  #endValue(at: number, found: Span[]): void {
    const start = this.#scalarAt;
    // Where a value is missing, nothing is found.
    if (start !== undefined && start < at) found.push({ start, end: at });
    this.#scalarAt = undefined;
    this.#state = 'after';
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

const WITH_ESCAPES = /[~/]/;

function isSpace(character: string): boolean {
  return character === ' ' || character === '\n' || character === '\r' || character === '\t';
}

/** A byte order mark in UTF-8, one character per byte or decoded. */
function isByteOrderMark(character: string, at: number): boolean {
  return at < 3 && ('\u00ef\u00bb\u00bf'.charAt(at) === character || character === '\ufeff');
}
