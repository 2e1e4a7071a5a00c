/** How addresses of the API map to addresses of the gateway. */
export interface LinkMap {
  /** The API's origin: `https://api.example.com`. */
  readonly apiOrigin: string;
  /** The path that the gateway puts before each request's path: empty, or such as `/v4`. */
  readonly basePath: string;
  /** The gateway's origin as the caller used it: `http://127.0.0.1:8080`. */
  readonly callerOrigin: string;
  /** The path under which the gateway serves the API: absent, or such as `/github`. */
  readonly prefix?: string;
}

const LINK_TARGET = /<([^<>]*)>/g;
/** References with a scheme, an authority or an absolute path; others are relative to the request. */
const NOT_RELATIVE = /^(?:[a-z][a-z\d+.-]*:|[/\\])/i;
/** A path, and no form that a client may read as an authority. */
const PATH_ONLY = /^\/(?![/\\\t\r\n])/;

/**
 * Rewrites a URI reference to the API so that it leads through the gateway; returns other
 * references unchanged.
 *
 * The schemes `http` and `https` of the API's host count as the API: many APIs behind a proxy that
 * terminates TLS write the wrong one. An absolute reference gets the caller's origin; a path
 * (`/v4/items`) remains a path. The base
 * path is removed from both, since the gateway adds it to each request. References to the API's
 * origin but outside the base path still lead there, because the gateway cannot reach them. The
 * prefix takes the base path's place.
 *
 * The result is built from the parts of the parsed URL, never cut from its text: without its base
 * path, `/v4//evil.example` would name another host.
 */
export function rewriteLink(reference: string, map: LinkMap): string {
  const { prefix = '' } = map;
  const text = reference.trim();
  if (!NOT_RELATIVE.test(text)) return reference;
  const isPath = PATH_ONLY.test(text);
  if (isPath && map.basePath === prefix) return reference;
  const url = URL.parse(text, map.apiOrigin);
  if (url === null || !isOfApi(url, map.apiOrigin)) return reference;
  if (url.username !== '' || url.password !== '') return reference;
  const path = withoutBase(url.pathname, map.basePath);
  // `https:/items` names the API's host only beside a page of the API.
  if (path === undefined) return isPath ? reference : url.href;
  const rest = prefix + path + url.search + url.hash;
  return isPath && !rest.startsWith('//') ? rest : map.callerOrigin + rest;
}

/** Rewrites each target of a Link field (RFC 8288 §3) as {@link rewriteLink} does. */
export function rewriteLinkField(value: string, map: LinkMap): string {
  return value.replaceAll(LINK_TARGET, (_, target: string) => `<${rewriteLink(target, map)}>`);
}

/** Whether a URL has the API's host, by http or https, on the same port or on their default ones. */
function isOfApi(url: URL, apiOrigin: string): boolean {
  if (url.origin === apiOrigin) return true;
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
  const api = new URL(apiOrigin);
  return url.hostname === api.hostname && portOf(url) === portOf(api);
}

function portOf({ port }: URL): string {
  return port === '80' || port === '443' ? '' : port;
}

/** The part of an absolute path below the base path; `undefined` if the path is outside it. */
function withoutBase(path: string, basePath: string): string | undefined {
  if (path === basePath) return '/';
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : undefined;
}
