import { METHODS, STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../util/clock.ts';
import type { LinkedList } from '../../util/linked-list.ts';
import type { CallRecorder } from '../../telemetry/call-line.ts';
import type { Call } from '../call.ts';
import type { Pipelining } from './pipelining.ts';
import { GatewayError, toProblem, type ShedStatus } from '../problem.ts';
import { MAX_HEADERS } from '../identify/request-checks.ts';

export interface SocketRefusalDependencies {
  readonly recorder: CallRecorder;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly shedStatus: ShedStatus;
}

/** What is known of a request that was refused before it was a call. */
export interface RefusedRequest {
  /** Empty when none could be read. */
  readonly method: string;
  /** The host and port of a CONNECT. Other targets were not normalised, so they may have secrets. */
  readonly path?: string;
  readonly caller?: string;
}

/** Refuses what a socket has brought with a problem and a log line, and closes the socket. */
export type RefuseSocket = (socket: Duplex, error: GatewayError, request: RefusedRequest) => void;

/** Answers a CONNECT, which Node hands over with its socket and the bytes behind it. */
export type OnConnect = (
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  refuse: RefuseSocket,
) => void;

/** How long a refused caller has to read its answer before its socket is destroyed. */
const LINGER_MS = 2000;

/**
 * Refuses what Node's server does not pass on as a request: malformed bytes, headers that are late
 * or too large, and CONNECT, unless `onConnect` answers it. Each gets a problem and a log line, as a
 * refused request does. An error inside the body of one of `calls` cuts off that call instead.
 */
export function refuseNonRequests(
  server: Server,
  calls: LinkedList<Call>,
  pipelining: Pick<Pipelining, 'isIncomplete'>,
  { recorder, clock, newId, shedStatus }: SocketRefusalDependencies,
  onConnect: OnConnect = refuseConnect,
): void {
  /** Sockets that have their refusal; the parser repeats its error for all bytes that follow. */
  const refused = new WeakSet<Duplex>();

  server.on('connect', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Node hands the socket over without an error listener: a reset would end the process.
    socket.on('error', () => socket.destroy());
    onConnect(incoming, socket, head, refuse);
  });

  server.on('clientError', (cause: ParserError, socket: Duplex) => {
    // What follows a request that ends its connection is ignored (RFC 9112 §9.6).
    if (refused.has(socket) || cause.code === 'HPE_CLOSED_CONNECTION') return;
    const error = parserProblem(cause);
    // A connection that merely closed sent no request, so there is no call to answer or to log.
    if (error === undefined || !socket.writable || isSilent(cause, socket)) {
      socket.destroy();
      return;
    }
    for (const call of calls.all) {
      if (call.incoming.socket !== socket || call.incoming.complete) continue;
      call.outgoing.shouldKeepAlive = false;
      // A caller that ends its side in the middle of its body has disconnected.
      if (cause.code === 'HPE_INVALID_EOF_STATE') socket.destroy();
      else call.cutOff(error);
      return;
    }
    if (cause.code === 'HPE_INVALID_EOF_STATE' && pipelining.isIncomplete(socket)) socket.destroy();
    else refuse(socket, error, { method: '' });
  });

  function refuse(
    socket: Duplex,
    error: GatewayError,
    { method, path = '', caller = '' }: RefusedRequest,
  ): void {
    refused.add(socket);
    // While an earlier request of the socket has no answer yet, nothing is written: its caller
    // would take the refusal for that answer.
    let awaitsAnswer = false;
    for (const { incoming, outgoing } of calls.all) {
      if (incoming.socket !== socket) continue;
      awaitsAnswer = true;
      outgoing.shouldKeepAlive = false;
    }
    const id = newId();
    const { status, headers, body } = toProblem(error, id, shedStatus);
    const writes = !awaitsAnswer && socket.writable;
    if (writes) {
      const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, 'Connection: close'];
      for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
      socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
      linger(socket);
    } else if (!awaitsAnswer) socket.destroy();
    recorder({
      id,
      caller,
      bucket: undefined,
      credential: undefined,
      class: undefined,
      priority: undefined,
      cost: undefined,
      method,
      path,
      query: '',
      status: writes ? status : 0,
      outcome: 'failed',
      code: error.code,
      ...parserErrorOf(error),
      attempts: 0,
      waitMs: 0,
      retryMs: 0,
      upstreamMs: 0,
      totalMs: 0,
      bytesIn: 0,
      bytesOut: writes ? Buffer.byteLength(body) : 0,
      limit: undefined,
      remaining: undefined,
      resetInMs: undefined,
      waiting: 0,
      patienceMs: undefined,
      wouldWaitMs: undefined,
      wouldShed: undefined,
      trace_id: undefined,
      span_id: undefined,
    });
  }

  /**
   * Gives a refused caller time to read its answer, and destroys the socket after that: a caller
   * may never close its side. Bytes that still arrive are discarded.
   */
  function linger(socket: Duplex): void {
    const timer = clock.after(LINGER_MS, () => socket.destroy());
    socket.once('close', () => timer.cancel());
    socket.resume();
  }
}

function refuseConnect(
  _incoming: IncomingMessage,
  socket: Duplex,
  _head: Buffer,
  refuse: RefuseSocket,
): void {
  const detail = 'CONNECT is not supported: Headgate is not a tunnel';
  refuse(socket, new GatewayError('method-not-supported', detail), { method: 'CONNECT' });
}

/**
 * Whether a connection was opened ahead and nothing was ever sent on it, as browsers do. A client
 * that takes it for idle would read a 408 as the answer to its next request.
 */
function isSilent({ code }: ParserError, socket: Duplex): boolean {
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' && 'bytesRead' in socket && socket.bytesRead === 0;
}

function parserErrorOf({ cause }: GatewayError): { parserError?: string } {
  if (!(cause instanceof Error) || !('code' in cause)) return {};
  return typeof cause.code === 'string' ? { parserError: cause.code } : {};
}

/** An error of Node's parser, with the bytes in which it occurred. */
type ParserError = Error & { readonly code?: string; readonly rawPacket?: Buffer };

/** The beginning of a request line. */
const METHOD = /^([\w!#$%&'*+.^`|~-]{1,30}) [/*h]/i;

/** A well-formed method at the start of `bytes` that Node's parser does not know. */
function unknownMethodIn(bytes: Buffer | undefined): string | undefined {
  const [, method = ''] = METHOD.exec(bytes?.toString('latin1', 0, 40) ?? '') ?? [];
  return method === '' || METHODS.includes(method) ? undefined : method;
}

/**
 * The problem that an error of Node's parser stands for; `undefined` for an error of the connection
 * itself, which leaves no caller to answer.
 */
export function parserProblem(cause: ParserError): GatewayError | undefined {
  const { code = '', rawPacket } = cause;
  if (code === 'HPE_INVALID_METHOD' && rawPacket?.toString('latin1', 0, 6) === 'TRACK ') {
    const detail = 'TRACK is not supported: the answer would show the fields that Headgate adds';
    return new GatewayError('method-not-supported', detail, { cause });
  }
  const method = code === 'HPE_INVALID_METHOD' ? unknownMethodIn(rawPacket) : undefined;
  if (method !== undefined) {
    const detail = `${method} is not supported: expected a method of HTTP or WebDAV, in upper case`;
    return new GatewayError('method-not-supported', detail, { cause });
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    const detail = `expected at most ${MAX_HEADERS} headers, and 64 KiB with the request line; got more`;
    return new GatewayError('headers-too-large', detail, { cause });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const detail = 'the headers of the request did not arrive in time';
    return new GatewayError('request-timeout', detail, { cause });
  }
  if (code === 'HPE_INVALID_URL') {
    const detail =
      'the request target has characters that must be percent-encoded, such as a space or UTF-8';
    return new GatewayError('bad-request', `${detail} (${code})`, { cause });
  }
  if (!code.startsWith('HPE_')) return undefined;
  return new GatewayError('bad-request', `not a valid HTTP/1.1 request (${code})`, { cause });
}
