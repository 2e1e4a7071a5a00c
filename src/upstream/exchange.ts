import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '../util/clock.ts';
import type { HeaderRecord } from '../rate-headers/rate-headers.ts';
import type { CallerSignal, RemoveListener } from '../ledger/ledger.ts';
import { UpstreamResponse, type FailureReason } from './response.ts';

/** What came of sending a request, known when its headers arrive or cannot arrive any more. */
export type Sent =
  | {
      readonly kind: 'answered';
      readonly response: UpstreamResponse;
      /** On `Clock.now`: when the first byte of the request was about to be written. */
      readonly sentAt: number;
      /** On `Clock.now`: when the final headers had arrived. */
      readonly receivedAt: number;
    }
  /** Not a byte of it can have reached the API. */
  | { readonly kind: 'unsent'; readonly reason: FailureReason; readonly error: Error }
  /** The API may have seen it, and may have executed it. */
  | { readonly kind: 'lost'; readonly reason: FailureReason; readonly error: Error };

export interface UpstreamRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Name, value, name, value …, without Host. */
  readonly headers: string[];
  readonly body: Buffer | Readable | null;
}

export interface ExchangeOptions {
  readonly clock: Clock;
  readonly signal: CallerSignal;
  /** Whether a 407 can be a proxy's: it is about our credentials, and nothing for the caller. */
  readonly throughProxy: boolean;
  /** Early hints (103) came. */
  readonly onEarlyHints: (rawHeaders: string[]) => void;
  readonly onSent: (sent: Sent) => void;
  /** Called once, when nothing more can come: the socket is somebody else's. */
  readonly onOver: () => void;
}

/**
 * One request and its answer, as undici tells of it.
 *
 *   new ──onRequestStart──▶ written ──onResponseStart──▶ answered ──onResponseEnd──▶ over
 *    │                         │                            │
 *    └─error: unsent           └─error: lost                └─error: the body broke off
 *
 * undici calls onRequestStart right before it writes, so an error before it means that no byte
 * left. On a lost HTTP/1 socket it fails the request it had written; only requests it had not
 * started are sent on another socket. Should it ever start one twice, the second time is refused.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #options: ExchangeOptions;
  #controller: Dispatcher.DispatchController | undefined;
  #sentAt: number | undefined;
  #response: UpstreamResponse | undefined;
  #over = false;
  readonly #removeListener: RemoveListener;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#removeListener = options.signal.onGone(() => this.#abort());
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const again = this.#sentAt !== undefined;
    this.#controller = controller;
    if (this.#options.signal.gone) return this.#abort();
    if (again) return controller.abort(new Error('undici tried to send a request twice'));
    this.#sentAt = this.#options.clock.now();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: HeaderRecord,
  ): void {
    const rawHeaders = flatten(controller.rawHeaders);
    if (status < 200) {
      // Early hints are news for the caller; 100 and 102 concern this hop only (RFC 9110 §15.2).
      if (status === 103) this.#options.onEarlyHints(rawHeaders);
      return;
    }
    if (status === 407 && this.#options.throughProxy) {
      return controller.abort(new Error('the proxy refused our credentials (407)'));
    }
    const receivedAt = this.#options.clock.now();
    const response = new UpstreamResponse(status, headers, rawHeaders, controller);
    this.#response = response;
    this.#options.onSent({
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
    if (this.#response !== undefined) this.#response.broke({ reason, error });
    else {
      const kind = this.#sentAt === undefined || isUnfinished(error) ? 'unsent' : 'lost';
      this.#options.onSent({ kind, reason, error });
    }
  }

  #abort(): void {
    if (this.#over) return;
    const error = new Error('the caller is gone');
    if (this.#controller !== undefined) return this.#controller.abort(error);
    // undici still connects, and learns of it when it would start. The walk is told now, so that
    // its log line does not wait for a connection; a promise hears only the first word.
    this.#options.onSent({ kind: 'unsent', reason: 'aborted', error });
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#removeListener();
    this.#options.onOver();
  }
}

/**
 * EPIPE is what a write says when the other side has closed, and a whole request leaves nothing to
 * write: the API has at most a part of it, which it must not execute (RFC 9112 §8).
 */
function isUnfinished(error: Error): boolean {
  return 'code' in error && error.code === 'EPIPE';
}

/** Node's error codes and undici's, in the few kinds that make a difference. */
function reasonOf(error: Error, started: boolean, gone: boolean): FailureReason {
  if (gone) return 'aborted';
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return 'timeout';
  // undici's parser error has a name and, depending on the parser, no code.
  if (error.name === 'HTTPParserError' || PROTOCOL_CODES.has(code)) return 'protocol';
  if (!started) return code === 'UND_ERR_INVALID_ARG' ? 'invalid' : 'unreachable';
  return 'reset';
}

const PROTOCOL_CODES = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RESPONSE',
]);

/** Header bytes are Latin-1 on the wire and stay so. */
function flatten(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
}
