/** Every problem with which Headgate answers, by its stable code. docs/errors.md explains each. */
export const PROBLEMS = {
  'queue-full': { status: 'shed', title: 'Too many requests are waiting for this budget' },
  'wait-too-long': { status: 'shed', title: 'The wait would outlast the deadline' },
  'caller-quota': { status: 'shed', title: 'The quota of this caller is used up' },
  'cost-too-high': { status: 400, title: 'The request costs more than the limit' },
  draining: { status: 'shed', title: 'This replica is shutting down' },
  'too-many-buckets': { status: 'shed', title: 'Too many credentials are in use' },
  'too-many-buckets-of-owner': {
    status: 'shed',
    title: 'This caller uses too many credentials',
  },
  'not-replayable': {
    status: 'shed',
    title: 'The API throttled a request whose body could not be kept for another attempt',
  },
  'body-memory-full': {
    status: 'shed',
    title: 'Waiting requests fill their memory',
  },
  'too-many-calls': { status: 'shed', title: 'Too many calls are under way' },
  'socket-share': { status: 503, title: "This caller's slow transfers hold too many sockets" },
  'upstream-unreachable': { status: 502, title: 'No connection to the API' },
  'upstream-protocol': { status: 502, title: 'The answer of the API is not valid HTTP' },
  'upstream-timeout': { status: 504, title: 'The API did not answer in time' },
  'drain-timeout': { status: 502, title: 'This replica shut down before the API answered' },
  'bad-request': { status: 400, title: 'The request cannot be understood' },
  'body-timeout': { status: 408, title: 'The body stopped arriving' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'expectation-failed': { status: 417, title: 'The expectation cannot be met' },
  misdirected: { status: 421, title: 'The connection is for another host' },
  'forbidden-target': { status: 403, title: 'The request is for another host' },
  'unknown-caller': { status: 401, title: 'The caller is unknown' },
  'proxy-key-required': { status: 407, title: 'The proxy needs the key of a known caller' },
  'too-many-unknown-keys': { status: 429, title: 'Too many callers of this address are unknown' },
  'cross-site': { status: 403, title: 'A web page of another site sent the request' },
  'foreign-host': { status: 403, title: 'The Host is not a name of this gateway' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  'no-route': { status: 404, title: 'No API is configured for this host and path' },
  'websocket-not-supported': { status: 501, title: 'WebSocket connections are not supported' },
  'too-many-tunnels': { status: 'shed', title: 'Too many tunnels are open' },
  'tunnel-failed': { status: 502, title: 'No connection to the host of the tunnel' },
  loop: { status: 508, title: 'The request returned to the gateway that sent it' },
  'method-not-supported': { status: 501, title: 'The method is not supported' },
  'request-timeout': { status: 408, title: 'The request did not arrive in time' },
  'target-too-long': { status: 414, title: 'The request target is too long' },
  internal: { status: 500, title: 'Headgate failed' },
} as const satisfies Record<string, { status: number | 'shed'; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** The types of errors of RFC 9209 §2.3. A code that is not here is a refusal: `http_request_denied`. */
const PROXY_ERRORS: Readonly<Partial<Record<ProblemCode, string>>> = {
  'socket-share': 'connection_limit_reached',
  'upstream-unreachable': 'connection_terminated',
  'upstream-protocol': 'http_protocol_error',
  'upstream-timeout': 'http_response_timeout',
  'drain-timeout': 'proxy_internal_error',
  'bad-request': 'http_request_error',
  'body-timeout': 'http_request_error',
  'body-too-large': 'http_request_error',
  'expectation-failed': 'http_request_error',
  'headers-too-large': 'http_request_error',
  'method-not-supported': 'http_request_error',
  'request-timeout': 'http_request_error',
  misdirected: 'http_request_error',
  'too-many-tunnels': 'connection_limit_reached',
  'tunnel-failed': 'destination_unavailable',
  'target-too-long': 'http_request_error',
  loop: 'proxy_loop_detected',
  internal: 'proxy_internal_error',
};

/** The statuses of a shed request: 429 is for clients that understand no other. */
export type ShedStatus = 503 | 429;

export interface GatewayErrorOptions {
  /**
   * How long the caller should wait before it repeats the request; absent if waiting cannot help.
   */
  readonly retryAfterMs?: number;
  /** The type of error in Proxy-Status, where the code alone does not determine it. */
  readonly proxyError?: string;
  readonly cause?: unknown;
}

/** A failure with a stable code, which becomes a problem document. Any other error is a bug. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: ProblemCode;
  readonly retryAfterMs: number | undefined;
  readonly proxyError: string;

  /** `detail` is shown to the caller: what was expected, and what arrived. */
  constructor(
    code: ProblemCode,
    detail: string,
    { retryAfterMs, proxyError, cause }: GatewayErrorOptions = {},
  ) {
    super(detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.proxyError = proxyError ?? PROXY_ERRORS[code] ?? 'http_request_denied';
  }
}

/** The detail of every refusal by a replica that drains. */
export const DRAINING_DETAIL =
  'this replica is shutting down; try again, and another replica will answer';

/** A problem as an HTTP answer (RFC 9457). */
export interface Problem {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

/**
 * The value of Retry-After for a wait: whole seconds, rounded up, at least 1. The wait is a
 * difference of two times, so it is first rounded to milliseconds: seven seconds plus a rounding
 * error are 7.
 */
export function retryAfterSeconds(waitMs: number): number {
  return Math.max(1, Math.ceil(Math.round(waitMs) / 1000));
}

/**
 * The only mapping from an error to HTTP. `requestId` finds the call of a caller's report in the
 * log. Clients read Retry-After as an integer, and would repeat the request immediately after a
 * zero.
 */
export function toProblem(error: GatewayError, requestId: string, shedStatus: ShedStatus): Problem {
  const { status: known, title } = PROBLEMS[error.code];
  const status = known === 'shed' ? shedStatus : known;
  const retryAfter =
    error.retryAfterMs === undefined ? undefined : retryAfterSeconds(error.retryAfterMs);
  const body = JSON.stringify({
    type: 'about:blank',
    title,
    status,
    detail: error.message,
    code: error.code,
    requestId,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
  return {
    status,
    headers: [
      'Content-Type',
      'application/problem+json',
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Headgate-Error',
      error.code,
      'Headgate-Request-Id',
      requestId,
      'Proxy-Status',
      `headgate; error=${error.proxyError}`,
      'Cache-Control',
      'no-store',
      // A 401 must name the expected credential (RFC 9110 §15.5.2).
      ...(status === 401 ? ['WWW-Authenticate', 'Headgate-Key'] : []),
      // So must a 407, and clients repeat a request only for a scheme that they know (§15.5.8).
      ...(status === 407 ? ['Proxy-Authenticate', 'Basic realm="Headgate"'] : []),
      ...(retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)]),
    ],
    body,
  };
}

/** Any other error is a bug of Headgate: its caller learns the request id and nothing else. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  return new GatewayError('internal', 'an unexpected failure, logged under this request id', {
    cause: error,
  });
}
