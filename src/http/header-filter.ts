/**
 * Fields that belong to one connection and are not forwarded in either direction, even if
 * Connection does not list them: those of RFC 9110 §7.6.1, and those that other sections restrict
 * to one hop.
 *
 * - `TE` (§10.1.4) is for the gateway. Trailers are forwarded whether they are announced or not,
 *   which §6.5.1 permits.
 * - `Trailer` (§6.6.2) is only a hint, and Node refuses to send it with a Content-Length, in a 204
 *   or to an HTTP/1.0 caller.
 * - `Proxy-*` (§11.7) is between a client and a proxy that it has configured. If it were forwarded,
 *   an API could ask for proxy credentials and receive the caller's.
 * - `Alt-Svc` (RFC 7838) names other ways to the API, which lead past the gateway, or to a port that
 *   it does not have.
 * - `HTTP2-Settings` (RFC 7540 §3.2.1) belongs to an upgrade to h2c, which the gateway does not
 *   accept.
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'alt-svc',
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Fields that are forwarded even if Connection lists them. It must not list fields that are meant
 * for all recipients (RFC 9110 §7.6.1), but a hostile or faulty sender may do so. Without one of
 * these a message would have another meaning, and a request would not be the one that the gateway
 * identified, charged to a bucket and may retry.
 */
const ESSENTIAL: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'host',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'location',
  'range',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate',
]);

/**
 * Fields that identify the caller, its address or the hops before the gateway; proxies add most of
 * them. They are not sent to the API. `User-Agent`, `Referer` and `From` are: the caller sets them
 * for the API.
 */
const IDENTIFYING: ReadonlySet<string> = new Set([
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cf-ipcountry',
  'cf-pseudo-ipv4',
  'client-ip',
  'cluster-client-ip',
  'fastly-client-ip',
  'fly-client-ip',
  'forwarded',
  'proxy-client-ip',
  'true-client-ip',
  'via',
  'wl-proxy-client-ip',
  'x-appengine-user-ip',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-forwarded',
  'x-original-forwarded-for',
  'x-originating-ip',
  'x-real-ip',
  'x-remote-addr',
  'x-remote-ip',
]);
const IDENTIFYING_PREFIXES = ['headgate-', 'x-forwarded-', 'x-envoy-'];

/**
 * Fields by which some servers replace the method or the target of a request. The API would then
 * execute another request than the one that the gateway classified, masked and logged.
 */
const OVERRIDING: readonly string[] = [
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
];

/**
 * What callers attach to a trace for the services behind it: often a user's or a tenant's id, which
 * W3C Baggage §4 warns not to send to third parties.
 */
const BAGGAGE = 'baggage';

/** Not forwarded: the gateway sends `100 Continue` itself before it forwards (RFC 9110 §10.1.1). */
const EXPECT = 'expect';

/** To drop from an answer whose session is not the caller's. */
export const SET_COOKIE: ReadonlySet<string> = new Set(['set-cookie']);

const NONE: ReadonlySet<string> = new Set();

/**
 * The fields of the API's answer to send to the caller: the end-to-end fields, except `Headgate-*`
 * and those whose lower-case names are in `dropped`. Order, case and repetitions are kept.
 * `rawHeaders` is a flat list of names and values, as in Node.
 */
export function headersForCaller(
  rawHeaders: readonly string[],
  dropped: ReadonlySet<string> = NONE,
): string[] {
  return keep(rawHeaders, dropped, isOwn);
}

export interface HeadersForApiOptions {
  /** Lower-case names of fields that are dropped as well, because the gateway writes its own. */
  readonly replaced?: Iterable<string>;
  /** Lower-case names of fields that pass although they are usually dropped. */
  readonly allowed?: Iterable<string>;
}

/** Returns the fields of a caller's request to send to the API. */
export type HeadersForApi = (rawHeaders: readonly string[]) => string[];

/**
 * Makes the function that selects the fields of a request for the API: the end-to-end fields,
 * except those that identify the caller, `baggage`, those that replace the method or the target, and
 * those with a `_` in their name. Order, case and repetitions are kept.
 *
 * Servers that pass fields on as variables (CGI, WSGI) take `X_Real_IP` for `X-Real-IP`, so a name
 * with `_` could bring back every field that is dropped here.
 */
export function makeHeadersForApi({
  replaced = [],
  allowed = [],
}: HeadersForApiOptions = {}): HeadersForApi {
  const passes = new Set(allowed);
  const dropped = new Set([
    ...IDENTIFYING,
    ...[...OVERRIDING, BAGGAGE].filter((name) => !passes.has(name)),
    EXPECT,
    ...replaced,
  ]);
  const isDropped = (name: string): boolean =>
    (name.includes('_') && !passes.has(name)) || hasIdentifyingPrefix(name);
  return (rawHeaders) => keep(rawHeaders, dropped, isDropped);
}

/** Whether a request field never reaches the API, whatever is allowed. `name` is in lower case. */
export function isNeverForApi(name: string): boolean {
  return HOP_BY_HOP.has(name) || name === EXPECT || name === 'host' || isIdentifying(name);
}

/** Whether a request field would show the API who the caller is. `name` is in lower case. */
export function isIdentifying(name: string): boolean {
  return IDENTIFYING.has(name) || hasIdentifyingPrefix(name);
}

function hasIdentifyingPrefix(name: string): boolean {
  for (const prefix of IDENTIFYING_PREFIXES) if (name.startsWith(prefix)) return true;
  return false;
}

/** `Headgate-*` is what the gateway adds to an answer; another gateway behind it sends it as well. */
function isOwn(name: string): boolean {
  // A test of one character costs less, and most names fail it.
  return name.charCodeAt(0) === 104 && name.startsWith('headgate-');
}

/** The fields that are not hop-by-hop, not in `dropped`, and for which `isDropped` is false. */
function keep(
  rawHeaders: readonly string[],
  dropped: ReadonlySet<string>,
  isDropped: (name: string) => boolean,
): string[] {
  const kept: string[] = [];
  let listed: Set<string> | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    const value = rawHeaders[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'connection') listed = addListed(listed, value);
    if (HOP_BY_HOP.has(lower) || dropped.has(lower) || isDropped(lower)) continue;
    kept.push(name, value);
  }
  // Done last, since Connection may follow the fields that it lists; it seldom lists any.
  return listed === undefined ? kept : without(kept, listed);
}

/** Adds the fields that a Connection field removes; `undefined` if there are none, as usual. */
function addListed(listed: Set<string> | undefined, connection: string): Set<string> | undefined {
  let all = listed;
  for (const option of connection.toLowerCase().split(',')) {
    const field = option.trim();
    if (field === '' || field === 'keep-alive' || field === 'close') continue;
    if (!HOP_BY_HOP.has(field) && !ESSENTIAL.has(field)) all = (all ?? new Set()).add(field);
  }
  return all;
}

function without(headers: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}
