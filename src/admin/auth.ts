import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context, MiddlewareHandler } from 'hono';
import { isCrossOrigin, type OriginFields } from '../http/origin-check.ts';

export interface AdminAuthOptions {
  /** The token that operators must show, as it is at this moment; `undefined` when there is none. */
  readonly token: () => string | undefined;
  /** Whether other machines can reach the listener. */
  readonly beyondLoopback: boolean;
  /** Whether a Host field names us; see `makeIsOurHost`. */
  readonly isOurHost: (hostField: string | undefined) => boolean;
}

/** What orchestrators and scrapers read, which hold no token. */
const HEALTH = /^\/health(?:\/|$)/;
const METRICS = '/metrics';
/** Methods that change nothing (RFC 9110 §9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
/**
 * Basic is what a browser can ask its reader for, and it sends it along with an EventSource too;
 * the user name does not matter, the token is the password.
 */
const CHALLENGE = 'Basic realm="headgate admin", charset="UTF-8"';

const NO_TOKEN = 'This needs HEADGATE_ADMIN_TOKEN, and none is set.\n';
const WRONG_TOKEN =
  'Expected HEADGATE_ADMIN_TOKEN as "Authorization: Bearer …", or as the password of Basic.\n';
const FOREIGN_HOST =
  'The Host field is no name of ours; HEADGATE_HOSTS can name it. This guards against web pages that rebind DNS.\n';
const CROSS_SITE = 'A page of another site may not change anything here.\n';

/**
 * Guards the admin listener; goes before all its routes.
 *
 * - `/health…` and `/metrics` are open to who can reach them.
 * - The rest can be read without a token on a loopback listener when none is set; in every other
 *   case it needs the token.
 * - What changes something always needs the token, and must not come from another site's page,
 *   because a browser adds the credentials that it holds to whatever a page makes it send.
 * - On a loopback listener the Host must be ours: there, a page that rebinds DNS would read as us.
 */
export function makeAdminAuth(options: AdminAuthOptions): MiddlewareHandler {
  const { token, beyondLoopback, isOurHost } = options;

  /** The answer to who may not; `undefined` to who may. */
  function refusal(c: Context): Response | undefined {
    const { path, method } = c.req;
    const safe = SAFE.has(method);
    if (safe && HEALTH.test(path)) return undefined;
    const fields: OriginFields = {
      host: c.req.header('host'),
      origin: c.req.header('origin'),
      'sec-fetch-site': c.req.header('sec-fetch-site'),
    };
    if (!beyondLoopback && !isOurHost(fields.host)) return c.text(FOREIGN_HOST, 403);
    if (safe && path === METRICS) return undefined;
    if (!safe && isCrossOrigin(fields)) return c.text(CROSS_SITE, 403);
    const expected = token();
    if (expected === undefined) {
      return safe && !beyondLoopback ? undefined : c.text(NO_TOKEN, 403);
    }
    const shown = shownToken(c.req.header('authorization'));
    if (shown !== undefined && isSame(shown, expected)) return undefined;
    return c.text(WRONG_TOKEN, 401, { 'WWW-Authenticate': CHALLENGE });
  }

  return async function adminAuth(c, next) {
    const refused = refusal(c);
    if (refused === undefined) await next();
    else c.res = refused;
    // No other page may frame what has buttons on it, or take an answer for something else.
    c.res.headers.set('X-Frame-Options', 'DENY');
    c.res.headers.set('X-Content-Type-Options', 'nosniff');
    c.res.headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  };
}

/** The token in an Authorization field; `undefined` when there is none that we can read. */
function shownToken(authorization: string | undefined): string | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  if (scheme.toLowerCase() !== 'basic') return undefined;
  const pair = Buffer.from(value, 'base64').toString();
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : pair.slice(colon + 1);
}

/** Compares in a time that tells nothing, of lengths neither: what is compared are digests. */
function isSame(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
