import { createHash, timingSafeEqual } from 'node:crypto';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, MiddlewareHandler } from 'hono';
import { callerOrigin, readForwarded } from '../http/caller-origin.ts';
import { isCrossOrigin } from '../http/origin-check.ts';

export interface AdminAuthOptions {
  /** The current token of operators; `undefined` when none is set. */
  readonly token: () => string | undefined;
  /** Whether other machines can reach the listener. */
  readonly beyondLoopback: boolean;
  /** Whether a Host field names this gateway; see `makeIsOurHost`. */
  readonly isOurHost: (hostField: string | undefined) => boolean;
  /** Whether the forwarded fields of a connection from an address are believed. */
  readonly isTrustedProxy: (address: string | undefined) => boolean;
}

/** Read by orchestrators and scrapers, which have no token. */
const HEALTH = /^\/health(?:\/|$)/;
const METRICS = '/metrics';
/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
/**
 * Basic, because a browser can ask its user for it and also sends it with an EventSource. The token is
 * the password; the user name is ignored.
 */
const CHALLENGE = 'Basic realm="headgate admin", charset="UTF-8"';

const NO_TOKEN = 'This request needs HEADGATE_ADMIN_TOKEN, and none is set.\n';
const WRONG_TOKEN =
  'Expected HEADGATE_ADMIN_TOKEN as "Authorization: Bearer …", or as the password of Basic.\n';
const FOREIGN_HOST =
  'The Host field is not a known name of this gateway; add it to HEADGATE_HOSTS. This check stops DNS rebinding.\n';
const CROSS_SITE = 'A request from a page of another site may not change anything.\n';

/**
 * Authorises requests to the admin listener; runs before all its routes.
 *
 * - `/health…` and `/metrics` need no token.
 * - Other reads need no token on a loopback listener without a configured token. In every other case
 *   they need the token.
 * - Changes always need the token. They must not come from a page of another site, because a browser
 *   adds its stored credentials to requests of any page.
 * - On a loopback listener the Host field must name this gateway. Otherwise a page could read
 *   everything by DNS rebinding.
 */
export function makeAdminAuth(options: AdminAuthOptions): MiddlewareHandler {
  const { token, beyondLoopback, isOurHost, isTrustedProxy } = options;

  /** The response to a request that is not authorised; `undefined` for one that is. */
  function refusal(c: Context): Response | undefined {
    const { path, method } = c.req;
    const safe = SAFE.has(method);
    if (safe && HEALTH.test(path)) return undefined;
    const fields = c.req.header();
    const { host } = fields;
    const isForwarded = isTrustedProxy(getConnInfo(c).remote.address);
    const forwarded = isForwarded ? readForwarded(fields) : undefined;
    const isOurs = isOurHost(host) && isOurHost(forwarded?.host);
    const ownOrigin = callerOrigin(host, false, forwarded);
    if (!beyondLoopback && !isOurs) return c.text(FOREIGN_HOST, 403);
    if (safe && path === METRICS) return undefined;
    if (!safe && isCrossOrigin(fields, ownOrigin)) return c.text(CROSS_SITE, 403);
    const expected = token();
    if (expected === undefined) {
      return safe && !beyondLoopback ? undefined : c.text(NO_TOKEN, 403);
    }
    const sent = sentToken(c.req.header('authorization'));
    if (sent !== undefined && isSame(sent, expected)) return undefined;
    return c.text(WRONG_TOKEN, 401, { 'WWW-Authenticate': CHALLENGE });
  }

  return async function adminAuth(c, next) {
    const refused = refusal(c);
    if (refused === undefined) await next();
    else c.res = refused;
    // No other page may frame the admin page, and no browser may guess another content type.
    c.res.headers.set('X-Frame-Options', 'DENY');
    c.res.headers.set('X-Content-Type-Options', 'nosniff');
    c.res.headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  };
}

/** The token in an Authorization field; `undefined` when there is none. */
function sentToken(authorization: string | undefined): string | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization ?? '') ?? [];
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
