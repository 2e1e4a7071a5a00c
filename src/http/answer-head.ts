/**
 * The head of an API's answer in the form that a strict parser takes.
 *
 * Common clients and proxies accept some heads that the strict parser of the HTTP client library
 * rejects. RFC 9110 and RFC 9112 state for most of them what a recipient does instead.
 */

/** One status line and fields that have nothing to repair, except perhaps those of the framing. */
const PLAIN =
  /^HTTP\/1\.[01] \d\d\d(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/;
const FRAMING = /\n(?:content-length|transfer-encoding):[ \t]*([^\r\n]*)/gi;
const CONTENT_LENGTH = /^content-length:/i;
const TRANSFER_ENCODING = /^transfer-encoding:/i;
/** What a field value must not have; RFC 9110 §5.5 lets a recipient replace it by a space. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)/g;
const SPACE_BEFORE_COLON = /^([^:\s]+)[ \t]+:/;

/**
 * Returns the head of a final answer as a strict parser takes it; the same string if there is
 * nothing to repair. `head` ends with its empty line, and has one character per byte.
 *
 * - A bare line feed ends a line (RFC 9112 §2.2).
 * - A folded line is joined, and a space before a colon is removed (RFC 9112 §5).
 * - Control characters except NUL become spaces.
 * - With Transfer-Encoding, Content-Length is removed, and the connection is not used again
 *   (RFC 9112 §6.3).
 * - A Content-Length that is repeated with the same value counts once (RFC 9110 §8.6).
 * - The coding `identity`, which means none, is removed.
 *
 * Everything else that is wrong is left to the parser to reject.
 */
export function repairHead(head: string): string {
  if (PLAIN.test(head) && hasPlainFraming(head)) return head;
  const lines: string[] = [];
  for (const line of head.replaceAll(CONTROL, ' ').split(/\r?\n/)) {
    if (/^[ \t]/.test(line)) {
      const field = lines.length > 1 ? (lines.pop() ?? '') : '';
      // There is no field to which it belongs.
      if (!field.includes(':')) return head;
      lines.push(`${field} ${line.trim()}`);
    } else lines.push(line.replace(SPACE_BEFORE_COLON, '$1:'));
  }
  return frame(lines).join('\r\n');
}

/** Whether there is at most one field that frames the body, with a value that parsers take. */
function hasPlainFraming(head: string): boolean {
  FRAMING.lastIndex = 0;
  const first = FRAMING.exec(head);
  if (first === null) return true;
  return /^(?:\d+|chunked)$/i.test(first[1] ?? '') && FRAMING.exec(head) === null;
}

function frame(lines: readonly string[]): string[] {
  const codings = membersOf(lines, TRANSFER_ENCODING).filter((coding) => coding !== 'identity');
  const lengths = membersOf(lines, CONTENT_LENGTH);
  const [length] = lengths;
  const others = lines.filter((line) => !CONTENT_LENGTH.test(line));
  if (codings.length > 0) {
    return length === undefined ? others : withField(others, 'Connection: close');
  }
  const fields = others.filter((line) => !TRANSFER_ENCODING.test(line));
  if (length === undefined) return fields;
  // Different lengths leave the end of the body in doubt, and so does one that is no number.
  const isCertain = /^\d+$/.test(length) && lengths.every((other) => other === length);
  if (!isCertain) return [...lines];
  return withField(fields, `Content-Length: ${length}`);
}

/** The members of all lines of a list field, in lower case. */
function membersOf(lines: readonly string[], field: RegExp): string[] {
  const values = lines.filter((line) => field.test(line)).map((line) => line.replace(field, ''));
  const members = values.join(',').split(',');
  return members.map((member) => member.trim().toLowerCase()).filter((member) => member !== '');
}

/** Adds a field behind the status line. */
function withField([status = '', ...fields]: readonly string[], field: string): string[] {
  return [status, field, ...fields];
}

/**
 * Returns the head of an interim answer (1xx) as a strict parser takes it. Such a head says nothing of
 * a body or of the end of the connection, whatever its fields say.
 */
export function interimHead(head: string): string {
  const lines = repairHead(head).split('\r\n');
  return lines.filter((line) => !CLOSE.test(line) && !LENGTH_OR_CODING.test(line)).join('\r\n');
}

/** Returns a head after which the connection is not used again. */
export function closingHead(head: string): string {
  const lines = head.split('\r\n').filter((line) => !CONNECTION.test(line));
  return withField(lines, 'Connection: close').join('\r\n');
}

const CLOSE = /^connection:.*\bclose\b/i;
const LENGTH_OR_CODING = /^(?:content-length|transfer-encoding):/i;
/** Fields about the use of the connection. */
const CONNECTION = /^(?:connection|keep-alive)[ \t]*:/i;

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const COLON = 58;
const DELETE = 127;
/** The letter of a byte in lower case is `byte | LOWER`. */
const LOWER = 32;
const LENGTH_NAME = 'content-length';
const CODING_NAME = 'transfer-encoding';

/** A head without faults: whether a chunked body follows it. */
export type PlainHead = 'chunked' | 'not chunked';

/**
 * Reads the head of a final answer at the beginning of `bytes`. Returns `undefined` for one that is
 * incomplete, that {@link repairHead} would change, or that leaves a doubt. Nearly every answer has
 * a plain head, so this reads its bytes once, in two short loops: one for what follows a colon, one
 * for a name.
 */
export function plainHeadOf(bytes: Uint8Array): PlainHead | undefined {
  // A status line, `HTTP/1.1 200 OK`, and no interim one.
  if (bytes[8] !== SPACE || bytes[9] === 49) return undefined;
  const { length } = bytes;
  let framing: PlainHead | undefined;
  for (let at = 9; at < length; at++) {
    let byte = bytes[at] ?? 0;
    while ((byte >= SPACE && byte !== DELETE) || byte === TAB) {
      at++;
      if (at >= length) return undefined;
      byte = bytes[at] ?? 0;
    }
    if (byte !== CR || bytes[at + 1] !== LF) return undefined;
    at += 2;
    if (at >= length) return undefined;
    const nameAt = at;
    byte = bytes[at] ?? 0;
    if (byte === CR) return bytes[at + 1] === LF ? (framing ?? 'not chunked') : undefined;
    while (byte > SPACE && byte !== COLON && byte !== DELETE) {
      at++;
      if (at >= length) return undefined;
      byte = bytes[at] ?? 0;
    }
    if (byte !== COLON) return undefined;
    const nameLength = at - nameAt;
    const isLength = nameLength === LENGTH_NAME.length && isAt(bytes, nameAt, LENGTH_NAME);
    if (!isLength && (nameLength !== CODING_NAME.length || !isAt(bytes, nameAt, CODING_NAME))) {
      continue;
    }
    if (framing !== undefined) return undefined;
    framing = isLength ? 'not chunked' : 'chunked';
    const valueAt = bytes[at + 1] === SPACE ? at + 2 : at + 1;
    if (isLength ? !isNumber(bytes, valueAt) : !isChunked(bytes, valueAt)) return undefined;
  }
  return undefined;
}

/** Whether `text`, in lower case, is at a place in `bytes`, in any case. */
function isAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const byte = bytes[at + i] ?? 0;
    if (byte !== text.charCodeAt(i) && (byte | LOWER) !== text.charCodeAt(i)) return false;
  }
  return true;
}

function isNumber(bytes: Uint8Array, from: number): boolean {
  let at = from;
  for (let byte = bytes[at] ?? 0; byte >= 48 && byte <= 57; byte = bytes[at] ?? 0) at++;
  return at > from && bytes[at] === CR;
}

function isChunked(bytes: Uint8Array, from: number): boolean {
  return isAt(bytes, from, 'chunked') && bytes[from + 'chunked'.length] === CR;
}
