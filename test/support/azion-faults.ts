import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/**
 * Faults of an API and of the connection to it, by name. A request selects one with the header
 * `x-sim-fault`; a test selects those of the next calls with `Azion.failNext`.
 *
 *   delay:MS            answers late
 *   reset-before-read   breaks the connection before the call counts
 *   reset-after-read    counts the call, then breaks the connection
 *   never-answer        counts the call and sends no answer
 *   stall-body          sends headers and half the body, then nothing
 *   truncate            sends half the body under a whole Content-Length, then ends
 *   truncate-chunked    ends a chunked body without its last chunk
 *   not-http            answers with bytes that are not HTTP
 *   bad-head            answers with a header that HTTP forbids
 *   garbage-rates       rate headers without a meaning
 *   slow-chunks         sends the body a few bytes at a time
 *   reset-in-an-hour    reports the reset an hour too late
 *   reset-in-the-past   reports a reset in the past
 *   reset-zero          reports a reset of 0
 *   empty-for-a-day     reports that nothing is left until tomorrow
 *   edge-502            an edge's HTML, without rate headers and uncounted
 *   no-rates            a good answer without rate headers, uncounted
 *   cached              a good answer from a cache: old rate headers, Age, uncounted
 *   throttle-route      a 429 about this request alone: the budget is not spent
 *   throttle-bare       a 429 without further headers
 *   error-500           a counted 500 with rate headers
 *   early-hints         103 first
 *   processing          102 first
 *   gzip                a gzip body
 *   trailers            a chunked body with trailers
 */
export type Fault = string;

export interface FaultContext {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Calls `run` after `ms` of the API's clock. */
  readonly delay: (ms: number, run: () => void) => void;
  /** Answers without a fault. */
  readonly answer: (changes?: {
    status?: number;
    headers?: Record<string, string>;
    body?: string | Buffer;
  }) => void;
}

/** Faults of calls that the limiter does not count. */
export const UNCOUNTED: ReadonlySet<Fault> = new Set([
  'reset-before-read',
  'edge-502',
  'no-rates',
  'cached',
  'throttle-route',
  'throttle-bare',
]);

const HOUR_MS = 3_600_000;

/** Plays a fault instead of the usual answer. */
export function play(fault: Fault, context: FaultContext): void {
  const { incoming, outgoing, status, headers, body, delay, answer } = context;
  const [name = '', argument = ''] = fault.split(':');
  const half = body.slice(0, Math.ceil(body.length / 2));
  switch (name) {
    case 'delay':
      delay(Number(argument), () => answer());
      return;
    case 'reset-before-read':
    case 'reset-after-read':
      incoming.socket.resetAndDestroy();
      return;
    case 'never-answer':
      return;
    case 'stall-body':
      outgoing.writeHead(status, { ...headers, 'content-length': String(body.length) });
      outgoing.write(half);
      return;
    case 'truncate':
      outgoing.writeHead(status, { ...headers, 'content-length': String(body.length) });
      outgoing.write(half, () => incoming.socket.destroy());
      return;
    case 'truncate-chunked':
      outgoing.writeHead(status, { ...headers, 'transfer-encoding': 'chunked' });
      outgoing.write(half, () => incoming.socket.destroy());
      return;
    case 'not-http':
      incoming.socket.end('SSH-2.0-OpenSSH_9.2\r\n\r\n');
      return;
    case 'bad-head':
      incoming.socket.end('HTTP/1.1 200 OK\r\nX-Bad: a\u0000b\r\nContent-Length: 2\r\n\r\n{}');
      return;
    case 'garbage-rates':
      answer({
        headers: {
          'x-ratelimit-limit': 'many',
          'x-ratelimit-remaining': '-3',
          'x-ratelimit-reset': 'soon',
        },
      });
      return;
    case 'slow-chunks':
      outgoing.writeHead(status, {
        ...headers,
        'content-type': 'application/json',
        'content-length': String(body.length),
      });
      drip(outgoing, body);
      return;
    case 'reset-in-an-hour':
      answer({ headers: { 'x-ratelimit-reset': shifted(headers, HOUR_MS) } });
      return;
    case 'reset-in-the-past':
      answer({ headers: { 'x-ratelimit-reset': shifted(headers, -HOUR_MS) } });
      return;
    case 'reset-zero':
      answer({ headers: { 'x-ratelimit-reset': '0' } });
      return;
    case 'empty-for-a-day':
      answer({
        headers: {
          'x-ratelimit-remaining': '0',
          'x-ratelimit-reset': shifted(headers, 24 * HOUR_MS),
        },
      });
      return;
    case 'edge-502':
      outgoing.writeHead(502, { 'content-type': 'text/html' });
      outgoing.end('<html><body>Bad Gateway</body></html>');
      return;
    case 'no-rates':
      outgoing.writeHead(200, { 'content-type': 'application/json' });
      outgoing.end('{}');
      return;
    case 'cached':
      outgoing.writeHead(200, {
        'content-type': 'application/json',
        age: '30',
        'x-ratelimit-limit': '1',
        'x-ratelimit-remaining': '0',
      });
      outgoing.end('{}');
      return;
    case 'throttle-route':
      outgoing.writeHead(429, {
        'x-ratelimit-limit': '80',
        'x-ratelimit-remaining': '50',
        'retry-after': argument || '1',
      });
      outgoing.end('{"detail":"this route is busy"}');
      return;
    case 'throttle-bare':
      outgoing.writeHead(429);
      outgoing.end();
      return;
    case 'error-500':
      answer({ status: 500, body: '{"detail":"Internal error"}' });
      return;
    case 'early-hints':
      outgoing.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
      answer();
      return;
    case 'processing':
      outgoing.writeProcessing();
      answer();
      return;
    case 'gzip':
      answer({ headers: { 'content-encoding': 'gzip' }, body: gzipSync(body) });
      return;
    case 'trailers':
      outgoing.writeHead(status, {
        ...headers,
        trailer: 'x-checksum',
        'transfer-encoding': 'chunked',
      });
      outgoing.write(body);
      outgoing.addTrailers({ 'x-checksum': 'abc' });
      outgoing.end();
      return;
    default:
      throw new Error(`unknown fault: ${fault}`);
  }
}

function drip(outgoing: ServerResponse, body: string, at = 0): void {
  if (at >= body.length) {
    outgoing.end();
    return;
  }
  outgoing.write(body.slice(at, at + 7), () => setImmediate(drip, outgoing, body, at + 7));
}

/** The reported reset, shifted by `ms`; only for the default dialect. */
function shifted(headers: Readonly<Record<string, string>>, ms: number): string {
  const at = Date.parse(`${headers['x-ratelimit-reset'] ?? ''}Z`);
  return new Date(at + ms).toISOString().replace('Z', '000');
}
