import { createHash, timingSafeEqual } from 'node:crypto';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, MiddlewareHandler } from 'hono';
import type { AuthThrottle } from '../http/auth-throttle.ts';
import { callerOrigin, readForwarded } from '../http/caller-origin.ts';
import { isCrossOrigin, opensInTab } from '../http/origin-check.ts';

export interface AdminAuthOptions {
  /** The current token of operators; `undefined` when none is set. */
  readonly token: () => string | undefined;
  /** Slows clients with wrong tokens. */
  readonly throttle: AuthThrottle;
  /** Whether the listener speaks TLS. */
  readonly tls: boolean;
  /** Whether other machines can reach the listener. */
  readonly beyondLoopback: boolean;
  /** Whether a Host field names this gateway; see `makeIsOurHost`. */
  readonly isOurHost: (hostField: string | undefined) => boolean;
  /** Whether the forwarded fields of a connection from an address are believed. */
  readonly isTrustedProxy: (address: string | undefined) => boolean;
}

/** Read by orchestrators and scrapers, which have no token. */
const HEALTH = /^\/(?:health(?:\/|$)|livez$|readyz$)/;
const METRICS = '/metrics';
/** Holds one of few places for watchers, so that a link of another site may not open it. */
const EVENTS = '/events';
/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
/**
 * Basic, because a browser can ask its user for it and also sends it with an EventSource. The token is
 * the password; the user name is ignored.
 */
const CHALLENGE = 'Basic realm="headgate admin", charset="UTF-8"';

/** The refusals of the admin listener, by their stable codes. docs/admin-api.md lists them. */
export const ADMIN_REFUSALS = {
  'cross-site': {
    status: 403,
    error: 'A web page of another site sent this request; open the address in a tab of its own.',
  },
  'foreign-host': {
    status: 403,
    error:
      'The Host field is not a known name of this gateway; add it to HEADGATE_HOSTS. This check stops DNS rebinding.',
  },
  'no-token-set': {
    status: 403,
    error: 'This request needs HEADGATE_ADMIN_TOKEN, and none is set.',
  },
  'token-missing': {
    status: 401,
    error:
      'Expected HEADGATE_ADMIN_TOKEN as "Authorization: Bearer …", or as the password of Basic; got no Authorization field.',
  },
  'token-wrong': {
    status: 401,
    error:
      'Expected HEADGATE_ADMIN_TOKEN as "Authorization: Bearer …", or as the password of Basic; got something else.',
  },
  'too-many-wrong-tokens': {
    status: 429,
    error: 'The token is wrong, as were many others from this address.',
  },
} as const;

export type AdminRefusal = keyof typeof ADMIN_REFUSALS;

/**
 * Authorises requests to the admin listener; runs before all its routes.
 *
 * - A request that a page of another origin made a browser send is refused, whatever it is for: a
 *   browser adds its stored credentials to requests of any page. Links may open any resource in a
 *   tab except the event stream.
 * - `/health…`, OPTIONS on `/`, and `/metrics` need no token.
 * - Other reads need no token on a loopback listener without a configured token. In every other case
 *   they need the token.
 * - Changes always need the token.
 * - Clients that send many wrong tokens are slowed; see {@link AuthThrottle}.
 * - On a loopback listener the Host field must name this gateway. Otherwise a page could read
 *   everything by DNS rebinding. `/health…` reveals nothing, and is served under every name.
 */
export function makeAdminAuth(options: AdminAuthOptions): MiddlewareHandler {
  const { token, throttle, tls, beyondLoopback, isOurHost, isTrustedProxy } = options;

  /** Why a request is not authorised; `undefined` for one that is. */
  function refusal(c: Context): AdminRefusal | undefined {
    const { path, method } = c.req;
    const safe = SAFE.has(method);
    const fields = c.req.header();
    const { host } = fields;
    const isForwarded = isTrustedProxy(getConnInfo(c).remote.address);
    const forwarded = isForwarded ? readForwarded(fields) : undefined;
    const isLink = path !== EVENTS && opensInTab(method, fields);
    if (!isLink && isCrossOrigin(fields, callerOrigin(host, tls, forwarded))) return 'cross-site';
    if (safe && (HEALTH.test(path) || (method === 'OPTIONS' && path === '/'))) return undefined;
    const isOurs = isOurHost(host) && isOurHost(forwarded?.host);
    if (!beyondLoopback && !isOurs) return 'foreign-host';
    if (safe && path === METRICS) return undefined;
    const expected = token();
    if (expected === undefined) return safe && !beyondLoopback ? undefined : 'no-token-set';
    const authorization = c.req.header('authorization');
    if (authorization === undefined) return 'token-missing';
    const sent = sentToken(authorization);
    return sent !== undefined && isSame(sent, expected) ? undefined : 'token-wrong';
  }

  /** Answers a request with a wrong token, at once or after a delay. */
  async function refuseWrongToken(c: Context): Promise<Response> {
    const { address = 'unknown' } = getConnInfo(c).remote;
    const { signal } = c.req.raw;
    const failure = throttle.fail(address, (listener) => {
      signal.addEventListener('abort', listener);
      return () => signal.removeEventListener('abort', listener);
    });
    if (failure.kind === 'too-many') {
      const retryAfter = Math.max(1, Math.ceil(failure.retryAfterMs / 1000));
      return answer(c, 'too-many-wrong-tokens', { 'Retry-After': String(retryAfter) });
    }
    if (failure.kind === 'delayed') await failure.over;
    // A 401 must name the expected credential (RFC 9110 §15.5.2).
    return answer(c, 'token-wrong', { 'WWW-Authenticate': CHALLENGE });
  }

  return async function adminAuth(c, next) {
    const refused = refusal(c);
    if (refused === undefined) await next();
    else if (refused === 'token-wrong') c.res = await refuseWrongToken(c);
    else if (refused === 'token-missing') {
      c.res = answer(c, refused, { 'WWW-Authenticate': CHALLENGE });
    } else c.res = answer(c, refused);
    // No other page may frame the admin page, keep a handle of its tab, or embed an answer, and no
    // browser may guess another content type.
    c.res.headers.set('X-Frame-Options', 'DENY');
    c.res.headers.set('X-Content-Type-Options', 'nosniff');
    c.res.headers.set('Cross-Origin-Opener-Policy', 'same-origin');
    c.res.headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  };
}

function answer(c: Context, code: AdminRefusal, headers: Record<string, string> = {}): Response {
  const { status, error } = ADMIN_REFUSALS[code];
  return c.json({ error, code }, status, { 'Headgate-Error': code, ...headers });
}

/** The token in an Authorization field; `undefined` when there is none. */
function sentToken(authorization: string): string | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : pair.slice(colon + 1);
}

/** Compares digests, in constant time, so that the time reveals neither contents nor lengths. */
function isSame(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
