import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '../util/clock.ts';
import type { HeaderRecord } from '../rate-headers/rate-headers.ts';
import type { CallerSignal, RemoveListener } from '../ledger/ledger.ts';
import { ProxyRefusalError } from './connect-failure.ts';
import { LateTimeoutError } from './lenient-socket.ts';
import { UpstreamResponse, type FailureReason } from './response.ts';

export interface AnsweredAttempt {
  readonly kind: 'answered';
  readonly response: UpstreamResponse;
  /** On `Clock.now`: when the first byte of the request was about to be written. */
  readonly sentAt: number;
  /** On `Clock.now`: when the final headers had arrived. */
  readonly receivedAt: number;
}

/**
 * The result of sending a request, known when the answer's headers arrive or can no longer arrive.
 */
export type SendResult =
  | AnsweredAttempt
  /** The API cannot have received the request. */
  | { readonly kind: 'unsent'; readonly reason: FailureReason; readonly error: Error }
  /** The API may have received the request, and may have executed it. */
  | { readonly kind: 'lost'; readonly reason: FailureReason; readonly error: Error };

/** Called with each interim answer (1xx) before the final one; headers: name, value, name, value … */
export type OnInterim = (status: number, rawHeaders: readonly string[]) => void;

/** Measures an attempt, from its sending until the answer's headers or its failure. Must not throw. */
export type MeasureAttempt = (method: string, sent: SendResult, durationMs: number) => void;

export interface UpstreamRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Name, value, name, value …, without Host. */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
  /** Whether the socket is closed after the answer, so that it serves no other request. */
  readonly closesSocket: boolean;
}

export interface ExchangeOptions {
  readonly clock: Clock;
  readonly signal: CallerSignal;
  /**
   * Whether a 407 is from our proxy: it concerns our credentials and is not passed to the caller.
   */
  readonly throughProxy: boolean;
  readonly onInterim: OnInterim;
  /** Called with the result; calls after the first have no effect. */
  readonly onResult: (sent: SendResult) => void;
  /** Called once, when the exchange has ended and its socket permit is free. */
  readonly onEnd: () => void;
}

/**
 * One request and its answer, as undici reports it.
 *
 *   new ──onRequestStart──▶ written ──onResponseStart──▶ answered ──onResponseEnd──▶ ended
 *    │                         │                            │
 *    └─error: unsent           └─error: lost                └─error: the body broke off
 *
 * undici calls onRequestStart immediately before it writes, so an error before that call means that
 * no byte was sent. When an HTTP/1 socket is lost, undici fails the request that it had written,
 * and moves only requests that it had not started to another socket. A second start is refused.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #options: ExchangeOptions;
  #controller: Dispatcher.DispatchController | undefined;
  #sentAt: number | undefined;
  #response: UpstreamResponse | undefined;
  #ended = false;
  readonly #removeListener: RemoveListener;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#removeListener = options.signal.onGone(() => this.#abort());
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const isStarted = this.#sentAt !== undefined;
    this.#controller = controller;
    if (this.#options.signal.gone) return this.#abort();
    if (isStarted) return controller.abort(new Error('undici tried to send a request twice'));
    this.#sentAt = this.#options.clock.now();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: HeaderRecord,
    reason?: string,
  ): void {
    const rawHeaders = flatten(controller.rawHeaders);
    if (status < 200) {
      this.#options.onInterim(status, rawHeaders);
      return;
    }
    if (status === 407 && this.#options.throughProxy) {
      return controller.abort(new ProxyRefusalError(407, 'the request'));
    }
    const receivedAt = this.#options.clock.now();
    const response = new UpstreamResponse(
      status,
      reasonPhrase(reason),
      headers,
      rawHeaders,
      controller,
    );
    this.#response = response;
    this.#options.onResult({
      kind: 'answered',
      response,
      sentAt: this.#sentAt ?? receivedAt,
      receivedAt,
    });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#response?.received(chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#end();
    this.#response?.complete(flatten(controller.rawTrailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#end();
    const reason = reasonOf(error, this.#sentAt !== undefined, this.#options.signal.gone);
    if (this.#response !== undefined) this.#response.brokeOff({ reason, error });
    else {
      const kind = this.#sentAt === undefined || isUnfinished(error) ? 'unsent' : 'lost';
      this.#options.onResult({ kind, reason, error });
    }
  }

  #abort(): void {
    if (this.#ended) return;
    const error = new Error('the caller has gone');
    if (this.#controller !== undefined) return this.#controller.abort(error);
    // undici is still connecting, and aborts when it would start the request. The result is
    // reported now, so that the log line does not wait for a connection.
    this.#options.onResult({ kind: 'unsent', reason: 'aborted', error });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#removeListener();
    this.#options.onEnd();
  }
}

/**
 * Whether the API cannot have a whole request. EPIPE means that a write failed because the other side
 * had closed, so the API has at most a part of it, which it must not execute (RFC 9112 §8).
 */
function isUnfinished(error: Error): boolean {
  if (error instanceof LateTimeoutError || error instanceof ProxyRefusalError) return true;
  return 'code' in error && error.code === 'EPIPE';
}

/** Maps the error codes of Node and undici to the kinds that Headgate treats differently. */
function reasonOf(error: Error, started: boolean, gone: boolean): FailureReason {
  if (gone) return 'aborted';
  if (error instanceof ProxyRefusalError) return 'unreachable';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return 'timeout';
  // undici's parser error always has a name, but not always a code.
  if (error.name === 'HTTPParserError' || PROTOCOL_CODES.has(code)) return 'protocol';
  if (!started) return code === 'UND_ERR_INVALID_ARG' ? 'invalid' : 'unreachable';
  return 'reset';
}

const PROTOCOL_CODES = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RESPONSE',
]);

/**
 * A reason phrase with one character per byte, as Node writes it; empty if its bytes are unknown,
 * because the library has decoded them as UTF-8.
 */
function reasonPhrase(decoded = ''): string {
  if (!NON_ASCII.test(decoded)) return decoded;
  return decoded.includes('\u{fffd}') ? '' : Buffer.from(decoded, 'utf8').toString('latin1');
}

const NON_ASCII = /[^\t\x20-\x7e]/;

/**
 * Header bytes are Latin-1 on the wire, and are kept as that. The names and values are parts of one
 * chunk unless the head arrived in several, and one decoding costs a quarter of eighteen.
 */
function flatten(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  const [first] = raw;
  const last = raw.at(-1);
  let head = '';
  let headAt = 0;
  let chunk: ArrayBufferLike | undefined;
  if (first instanceof Buffer && last instanceof Buffer && first.buffer === last.buffer) {
    chunk = first.buffer;
    headAt = first.byteOffset;
    const length = Math.max(0, last.byteOffset + last.length - headAt);
    head = Buffer.from(chunk, headAt, length).toString('latin1');
  }
  return raw.map((part) => {
    if (typeof part === 'string') return part;
    const at = part.byteOffset - headAt;
    const end = at + part.length;
    const isInHead = part.buffer === chunk && at >= 0 && end <= head.length;
    return isInHead ? head.slice(at, end) : part.toString('latin1');
  });
}
