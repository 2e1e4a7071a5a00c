import type { Socket } from 'node:net';
import { errors } from 'undici';
import { closingHead, interimHead, plainHeadOf, repairHead } from '../http/answer-head.ts';
import { ChunkedBody } from '../http/chunked-body.ts';
import { isIdempotent } from '../http/methods.ts';
import type { Clock } from '../util/clock.ts';

/** A longer head is left to the parser to reject. */
const MAX_HEAD_BYTES = 128 * 1024;
/** Longer than the size line of a chunk, the only other string that the library writes. */
const MIN_HEAD_LENGTH = 20;
const INTERIM = /^HTTP\/1\.[01] 1(\d\d)/;
const TIMEOUT = /^HTTP\/1\.[01] 408[ \r\n]/;
const HAS_BODY = /\n(?:content-length: [1-9]|transfer-encoding:)/i;
const CLOSES = /\nconnection:.*\bclose\b/i;
/** The last digit of 408, which few answers have. */
const EIGHT = 56;
const EMPTY_LINE = '\n\r\n';
const CHUNKED = /\ntransfer-encoding:[ \t]*chunked/i;
/** The other side has closed the connection, or reset it. */
const CLOSED: ReadonlySet<unknown> = new Set(['EPIPE', 'ECONNRESET']);

/** How long a socket is used. */
export interface SocketLimits {
  readonly clock: Clock;
  readonly maxAgeMs: number;
  readonly maxRequests: number;
}

/**
 * The API ended a connection that had been used with a 408, which crossed the request: it means that
 * the API received no request in time, and that the request may be repeated (RFC 9110 §15.5.9).
 */
export class LateTimeoutError extends Error {
  override readonly name = 'LateTimeoutError';

  constructor() {
    super('the API had ended the connection with a 408 before the request arrived');
  }
}

type WriteCallback = (error?: Error | null) => void;

/**
 * Makes a socket to the API take what every common client takes of an answer. It works between the
 * socket and the HTTP client library, which has no settings for it.
 *
 * - Heads are repaired before the library's strict parser reads them (`http/answer-head.ts`), and an
 *   interim `100 Continue`, for which Headgate never asks, is dropped. The framing of chunks is
 *   repaired as well (`http/chunked-body.ts`).
 * - An answer that has arrived is read although the API did not read the whole request, closed the
 *   connection and reset it: a failed write does not close the socket before that.
 * - An answer that ends with its connection is incomplete if the API resets it. Only behind a request
 *   with a body, of which the API may have left bytes unread, a reset counts as the end.
 * - A 408 that crosses a request on its way is no answer to it. It is one to a request with a body,
 *   because an upload can be too slow, and to a POST: some APIs say with a 408 that they took too long.
 * - A socket that has reached its age or number of requests is closed after its answer, so that
 *   Headgate resolves the API's name again.
 *
 * The library writes the head of a request as one string and has one request at a time on a socket,
 * so the first bytes after such a write are the head of an answer.
 */
export function makeLenient(socket: Socket, { clock, maxAgeMs, maxRequests }: SocketLimits): void {
  const expiresAt = clock.now() + maxAgeMs;
  let requests = 0;
  const push = socket.push.bind(socket);
  const write = socket._write.bind(socket);
  const writeMany = socket._writev?.bind(socket);
  const destroy = socket.destroy.bind(socket);
  let requestHead = '';
  let awaitsHead = false;
  let hasEnded = false;
  let partialHead: Buffer | undefined;
  let chunkedBody: ChunkedBody | undefined;
  let onWritten: WriteCallback | undefined;
  let writeError: Error | undefined;

  /**
   * Passes `bytes`, which begin with the head of an answer, to the library. Destroys the socket if the
   * API had given the connection up before it had the request.
   */
  function pushHead(bytes: Buffer): boolean {
    if (requests > 1 && bytes[11] === EIGHT && isTimeout(bytes) && mayRepeat()) {
      destroy(new LateTimeoutError());
      return false;
    }
    const isLast = requests >= maxRequests || clock.now() >= expiresAt;
    const plain = isLast ? undefined : plainHeadOf(bytes);
    if (plain !== undefined) {
      awaitsHead = false;
      return plain === 'chunked' ? pushChunked(bytes) : push(bytes);
    }
    let rest = bytes;
    for (;;) {
      const head = headOf(rest);
      if (head === undefined) {
        if (rest.length > MAX_HEAD_BYTES || !mayBeHead(rest)) break;
        partialHead = rest.length === 0 ? undefined : rest;
        return true;
      }
      const [, interim] = INTERIM.exec(head) ?? [];
      if (interim === undefined || interim === '01') {
        awaitsHead = false;
        const repaired = isLast ? closingHead(repairHead(head)) : repairHead(head);
        const body = rest.subarray(head.length);
        const whole = Buffer.concat([Buffer.from(repaired, 'latin1'), body]);
        return CHUNKED.test(repaired) ? pushChunked(whole) : push(whole);
      }
      if (interim !== '00') push(Buffer.from(interimHead(head), 'latin1'));
      rest = rest.subarray(head.length);
    }
    awaitsHead = false;
    return push(rest);
  }

  /** Passes `bytes`, which begin with a head in its usual form and a chunked body behind it. */
  function pushChunked(bytes: Buffer): boolean {
    const bodyAt = bytes.indexOf(EMPTY_LINE, 0, 'latin1') + EMPTY_LINE.length;
    chunkedBody = new ChunkedBody();
    const body = chunkedBody.repair(bytes.subarray(bodyAt));
    return push(body === undefined ? bytes : Buffer.concat([bytes.subarray(0, bodyAt), ...body]));
  }

  function pushBody(bytes: Buffer): boolean {
    const repaired = chunkedBody?.repair(bytes);
    return push(repaired === undefined ? bytes : Buffer.concat(repaired));
  }

  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null) return pushEnd();
    if (!(chunk instanceof Buffer)) return push(chunk, encoding);
    if (!awaitsHead) return pushBody(chunk);
    const bytes = partialHead === undefined ? chunk : Buffer.concat([partialHead, chunk]);
    partialHead = undefined;
    return pushHead(bytes);
  };

  function pushEnd(): boolean {
    hasEnded = true;
    if (partialHead !== undefined) push(partialHead);
    partialHead = undefined;
    // No answer has arrived, so what matters is that the request is incomplete.
    if (writeError !== undefined && awaitsHead) {
      socket.destroy(writeError);
      return false;
    }
    return push(null);
  }

  socket.destroy = (error) => {
    const isReset = error !== undefined && 'code' in error && error.code === 'ECONNRESET';
    // The library takes this code for the end of the answer.
    if (!isReset || awaitsHead || HAS_BODY.test(requestHead)) return destroy(error);
    return destroy(new errors.SocketError('the API reset the connection', undefined));
  };

  /** One for all writes of the socket, which come one after the other. */
  function written(error?: Error | null): void {
    if (error && !hasEnded && 'code' in error && CLOSED.has(error.code)) {
      // What has arrived is still there to be read, and then the end.
      writeError = error;
      return;
    }
    onWritten?.(error);
  }

  /** Looks for the head of a request in what is written. */
  function look(chunk: unknown): void {
    if (typeof chunk !== 'string' || chunk.length < MIN_HEAD_LENGTH) return;
    requestHead = chunk;
    awaitsHead = true;
    chunkedBody = undefined;
    requests++;
  }

  /** Whether the request can be sent again: it has no body, and may be executed twice. */
  function mayRepeat(): boolean {
    const [method = ''] = requestHead.split(' ', 1);
    return isIdempotent(method) && !HAS_BODY.test(requestHead);
  }

  socket._write = (chunk: unknown, encoding, callback) => {
    look(chunk);
    onWritten = callback;
    write(chunk, encoding, written);
  };
  if (writeMany !== undefined) {
    socket._writev = (chunks, callback) => {
      for (const { chunk } of chunks) look(chunk);
      onWritten = callback;
      writeMany(chunks, written);
    };
  }
}

/**
 * Whether an answer that ends a connection is a 408. Servers send it when no request has arrived for a
 * time, also on a connection that is idle.
 */
function isTimeout(bytes: Buffer): boolean {
  const head = headOf(bytes);
  return head !== undefined && TIMEOUT.test(head) && CLOSES.test(head);
}

/** Whether `bytes` can be the beginning of a head, perhaps behind empty lines. */
function mayBeHead(bytes: Buffer): boolean {
  const start = bytes.toString('latin1', 0, 'HTTP/'.length);
  return 'HTTP/'.startsWith(start) || /^[\r\n]/.test(start);
}

/** The head at the start of `bytes` with its empty line; `undefined` if it is incomplete. */
function headOf(bytes: Buffer): string | undefined {
  const at = bytes.indexOf(EMPTY_LINE, 0, 'latin1');
  const end = at === -1 ? bytes.length : at + EMPTY_LINE.length;
  const text = bytes.toString('latin1', 0, end);
  const bare = text.indexOf('\n\n');
  if (bare !== -1) return text.slice(0, bare + 2);
  return at === -1 ? undefined : text;
}
