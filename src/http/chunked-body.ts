const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const SEMICOLON = 59;

const CR_BYTE: Uint8Array = Uint8Array.of(CR);
const SPACE_BYTE: Uint8Array = Uint8Array.of(SPACE);

/** What the next byte belongs to. */
type Place =
  | 'size'
  | 'blank'
  | 'extension'
  | 'end of size'
  | 'data'
  | 'behind data'
  | 'end of data'
  | 'trailer'
  | 'end of trailer'
  /** The body is complete, or a strict parser will reject it: nothing is repaired any more. */
  | 'over';

/**
 * Follows the framing of one chunked body, and repairs what common clients accept but a strict parser
 * rejects:
 *
 * - Spaces and tabs behind the size of a chunk are removed. Some servers pad all sizes to the same
 *   width, and RFC 9112 §7.1.1 allows them before an extension.
 * - A bare line feed ends a line of the framing (RFC 9112 §2.2).
 *
 * The data does not change, and everything else that is wrong is left to the parser to reject.
 */
export class ChunkedBody {
  #place: Place = 'size';
  #size = 0;
  #digits = 0;
  /** Bytes of data that are left of the chunk. */
  #left = 0;
  /** Whether the line of the trailer section has bytes. */
  #isInLine = false;

  /** Takes the next bytes of the body; returns their repaired form, or `undefined` for no change. */
  repair(bytes: Uint8Array): Uint8Array[] | undefined {
    let pieces: Uint8Array[] | undefined;
    let from = 0;
    const replace = (at: number, removed: number, added?: Uint8Array): void => {
      pieces ??= [];
      if (at > from) pieces.push(bytes.subarray(from, at));
      if (added !== undefined) pieces.push(added);
      from = at + removed;
    };
    for (let at = 0; at < bytes.length && !this.#isOver; at++) {
      if (this.#place === 'data') {
        const passed = Math.min(this.#left, bytes.length - at);
        this.#left -= passed;
        at += passed - 1;
        if (this.#left === 0) this.#place = 'behind data';
        continue;
      }
      const byte = bytes[at] ?? 0;
      if (this.#place === 'blank' && (byte === SPACE || byte === TAB)) replace(at, 1);
      else if (this.#place === 'size' && this.#digits > 0 && (byte === SPACE || byte === TAB)) {
        this.#place = 'blank';
        replace(at, 1);
      } else {
        const wasBlank = this.#place === 'blank';
        if (byte === LF && this.#endsLine()) replace(at, 0, CR_BYTE);
        else this.#next(byte);
        // Without its blank, `5 0` would become another size.
        if (wasBlank && this.#isOver) replace(at, 0, SPACE_BYTE);
      }
    }
    if (pieces !== undefined && from < bytes.length) pieces.push(bytes.subarray(from));
    return pieces;
  }

  get #isOver(): boolean {
    return this.#place === 'over';
  }

  /** Takes a line feed without a carriage return, if it ends a line of the framing. */
  #endsLine(): boolean {
    const place = this.#place;
    if (place === 'behind data') this.#place = 'size';
    else if (place === 'trailer') this.#endTrailerLine();
    else if (place === 'extension' || place === 'blank') this.#endSize();
    else if (place === 'size' && this.#digits > 0) this.#endSize();
    else return false;
    return true;
  }

  #next(byte: number): void {
    switch (this.#place) {
      case 'size': {
        const digit = hexDigit(byte);
        if (digit !== undefined) {
          this.#size = this.#size * 16 + digit;
          this.#digits++;
          if (this.#size > Number.MAX_SAFE_INTEGER) this.#place = 'over';
        } else this.#place = this.#digits === 0 ? 'over' : afterSize(byte);
        break;
      }
      case 'blank':
        this.#place = afterSize(byte);
        break;
      case 'extension':
        if (byte === CR) this.#place = 'end of size';
        break;
      case 'end of size':
        if (byte === LF) this.#endSize();
        else this.#place = 'over';
        break;
      case 'behind data':
        this.#place = byte === CR ? 'end of data' : 'over';
        break;
      case 'end of data':
        this.#place = byte === LF ? 'size' : 'over';
        break;
      case 'trailer':
        if (byte === CR) this.#place = 'end of trailer';
        else this.#isInLine = true;
        break;
      case 'end of trailer':
        if (byte === LF) this.#endTrailerLine();
        else this.#place = 'over';
        break;
      case 'data':
      case 'over':
        break;
      default:
        this.#place satisfies never;
    }
  }

  #endSize(): void {
    this.#left = this.#size;
    this.#place = this.#size === 0 ? 'trailer' : 'data';
    this.#size = 0;
    this.#digits = 0;
  }

  #endTrailerLine(): void {
    this.#place = this.#isInLine ? 'trailer' : 'over';
    this.#isInLine = false;
  }
}

function afterSize(byte: number): Place {
  if (byte === SEMICOLON) return 'extension';
  return byte === CR ? 'end of size' : 'over';
}

function hexDigit(byte: number): number | undefined {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : undefined;
}
