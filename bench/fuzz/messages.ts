/** One HTTP/1.1 message, read by the letter of RFC 9112; each character a byte. */
export interface Message {
  readonly startLine: string;
  /** Name and value, in their order. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** What reading the next message came to. */
export type Read =
  | { readonly kind: 'message'; readonly message: Message; readonly rest: string }
  /** Bytes are missing, or its end is the connection's. */
  | { readonly kind: 'unfinished'; readonly head: string }
  /** No reading of the RFC allows these bytes. */
  | { readonly kind: 'wrong'; readonly why: string };

const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

/** `bodiless` says of a head whether no body follows whatever it announces (RFC 9112 §6.3). */
export function readMessage(bytes: string, bodiless: (startLine: string) => boolean): Read {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return { kind: 'unfinished', head: bytes };
  const head = bytes.slice(0, end);
  const [startLine = '', ...lines] = head.split('\r\n');
  const headers: [string, string][] = [];
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? [];
    if (name === undefined || value === undefined) return wrong(`a header line ${show(line)}`);
    headers.push([name.toLowerCase(), value.trim()]);
  }
  const after = bytes.slice(end + 4);
  const lengths = headers.filter(([name]) => name === 'content-length').map(([, value]) => value);
  const codings = headers.filter(([name]) => name === 'transfer-encoding');
  if (bodiless(startLine)) {
    return { kind: 'message', message: { startLine, headers, body: '' }, rest: after };
  }
  if (codings.length > 0) {
    if (lengths.length > 0) return wrong('a length beside chunks');
    if (codings.length > 1 || codings[0]?.[1] !== 'chunked') return wrong('an odd coding');
    const chunked = readChunks(after);
    if (typeof chunked === 'string') {
      return chunked === '' ? { kind: 'unfinished', head } : wrong(chunked);
    }
    const [body, rest] = chunked;
    return { kind: 'message', message: { startLine, headers, body }, rest };
  }
  if (lengths.length > 1 || !/^\d*$/.test(lengths[0] ?? '')) return wrong('an odd length');
  if (lengths.length === 0) {
    // A request without both has no body; an answer without both ends with its connection.
    if (startLine.startsWith('HTTP/')) return { kind: 'unfinished', head };
    return { kind: 'message', message: { startLine, headers, body: '' }, rest: after };
  }
  const length = Number(lengths[0]);
  if (after.length < length) return { kind: 'unfinished', head };
  const message = { startLine, headers, body: after.slice(0, length) };
  return { kind: 'message', message, rest: after.slice(length) };
}

/** The body and what follows it; what is wrong with it; or an empty text when some is missing. */
function readChunks(bytes: string): [string, string] | string {
  let at = 0;
  let body = '';
  for (;;) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return '';
    const size = bytes.slice(at, end);
    if (!/^[0-9a-f]{1,8}$/i.test(size)) return `a chunk size ${show(size)}`;
    const length = Number.parseInt(size, 16);
    at = end + 2;
    if (length === 0) break;
    if (bytes.length < at + length + 2) return '';
    body += bytes.slice(at, at + length);
    at += length;
    if (bytes.slice(at, at + 2) !== '\r\n') return 'a chunk longer than its size';
    at += 2;
  }
  for (;;) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return '';
    const line = bytes.slice(at, end);
    at = end + 2;
    if (line === '') return [body, bytes.slice(at)];
    if (!HEADER.test(line)) return `a trailer ${show(line)}`;
  }
}

export function show(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function wrong(why: string): Read {
  return { kind: 'wrong', why };
}
