/**
 * Fields that concern one connection and never pass, in either direction, named by Connection or
 * not: those of RFC 9110 §7.6.1, and those that by their own sections are for the next hop only.
 *
 * - `TE` (§10.1.4): ours is the hop that it is about. Trailers are relayed whether announced or not,
 *   which §6.5.1 leaves to us.
 * - `Trailer` (§6.6.2) is a mere hint, and Node refuses to send it with a Content-Length, in a 204
 *   or to an HTTP/1.0 caller.
 * - `Proxy-*` (§11.7) is between a client and the proxy that it knows of: an API that asked for proxy
 *   credentials through us would be given the caller's.
 * - `HTTP2-Settings` (RFC 7540 §3.2.1) comes with the offer of h2c that we do not take up.
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
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
 * What Connection cannot take away. Options may not name fields that are meant for all recipients
 * (RFC 9110 §7.6.1), but a hostile or confused sender does. Without these a message would be another
 * one than the one that we identified, charged to a bucket, and may repeat.
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
 * What tells the API who or where the caller is, or which hops lie between: the work of the proxies
 * in front of us. `User-Agent`, `Referer` and `From` are the caller's own words to the API and pass.
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

/** We have answered `100 Continue` ourselves by the time the request goes on (RFC 9110 §10.1.1). */
const EXPECT = 'expect';

const NONE: ReadonlySet<string> = new Set();

/**
 * The fields of the API's answer that go to the caller: the end-to-end ones, in their order, with
 * their case and their repetitions, less those whose lower-case names are in `dropped`. `rawHeaders`
 * is flat, name, value, name, value …, as Node's.
 */
export function endToEnd(
  rawHeaders: readonly string[],
  dropped: ReadonlySet<string> = NONE,
): string[] {
  return keep(rawHeaders, dropped, false);
}

/**
 * The fields of a caller's request that go to the API: the end-to-end ones, as {@link endToEnd}
 * keeps them, less what identifies the caller and less those whose lower-case names are in
 * `replaced`.
 */
export function toTheApi(
  rawHeaders: readonly string[],
  replaced: ReadonlySet<string> = NONE,
): string[] {
  return keep(rawHeaders, replaced, true);
}

/** Whether a request field, by its lower-case name, would tell the API who the caller is. */
export function isIdentifying(name: string): boolean {
  if (IDENTIFYING.has(name)) return true;
  for (const prefix of IDENTIFYING_PREFIXES) if (name.startsWith(prefix)) return true;
  return false;
}

function keep(
  rawHeaders: readonly string[],
  dropped: ReadonlySet<string>,
  fromCaller: boolean,
): string[] {
  const kept: string[] = [];
  let named: Set<string> | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    const value = rawHeaders[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'connection') named = addNamed(named, value);
    if (HOP_BY_HOP.has(lower) || dropped.has(lower)) continue;
    if (fromCaller && (lower === EXPECT || isIdentifying(lower))) continue;
    kept.push(name, value);
  }
  // Connection may come after the fields that it names, but seldom names any that is still there.
  return named === undefined ? kept : without(kept, named);
}

/** Adds the fields that a Connection field takes away; `undefined` in the usual case, none. */
function addNamed(named: Set<string> | undefined, connection: string): Set<string> | undefined {
  let all = named;
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
