/** How addresses of the API map to addresses of the gateway. */
export interface LinkMap {
  /** The API's origin: `https://api.example.com`. */
  readonly apiOrigin: string;
  /** The path that the gateway puts before each request's path: empty, or such as `/v4`. */
  readonly basePath: string;
  /** The gateway's origin as the caller used it: `http://127.0.0.1:8080`. */
  readonly callerOrigin: string;
}

const ABSOLUTE = /^(?:(https?):)?\/\/([^/?#\\@]*)([/?#].*)?$/is;
const LINK_TARGET = /<([^<>]*)>/g;

/**
 * Rewrites a URI reference to the API so that it leads through the gateway; returns other
 * references unchanged.
 *
 * An absolute reference gets the caller's origin; a path (`/v4/items`) remains a path. The base
 * path is removed from both, since the gateway adds it to each request. References to the API's
 * origin but outside the base path are unchanged, because the gateway cannot reach them.
 */
export function rewriteLink(reference: string, map: LinkMap): string {
  const absolute = ABSOLUTE.exec(reference);
  if (absolute !== null) {
    const apiScheme = map.apiOrigin.slice(0, map.apiOrigin.indexOf(':'));
    const [, scheme = apiScheme, authority = '', rest = ''] = absolute;
    if (!sameOrigin(`${scheme}://${authority}`, map.apiOrigin)) return reference;
    const path = belowBase(rest, map.basePath);
    return path === undefined ? reference : map.callerOrigin + path;
  }
  if (map.basePath === '' || !reference.startsWith('/')) return reference;
  return belowBase(reference, map.basePath) ?? reference;
}

/** Rewrites each target of a Link field (RFC 8288 §3) as {@link rewriteLink} does. */
export function rewriteLinkField(value: string, map: LinkMap): string {
  return value.replaceAll(LINK_TARGET, (_, target: string) => `<${rewriteLink(target, map)}>`);
}

function sameOrigin(address: string, origin: string): boolean {
  return URL.canParse(address) && new URL(address).origin === origin;
}

/**
 * `rest` without the base path; `undefined` if it is outside. `rest` is empty or begins with `/`,
 * `?` or `#`.
 */
function belowBase(rest: string, basePath: string): string | undefined {
  if (basePath === '') return rest;
  if (!rest.startsWith(basePath)) return undefined;
  const below = rest.slice(basePath.length);
  return below === '' || /^[/?#]/.test(below) ? below || '/' : undefined;
}

/**
 * A valid Host field: a host, perhaps with a port. No character in it ends the authority of a URL.
 */
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/**
 * The gateway's origin as the caller used it, from the Host field and whether the connection has
 * TLS. A proxy that terminates TLS before the gateway reports the scheme in X-Forwarded-Proto.
 * `undefined` if Host is absent or invalid.
 */
export function callerOrigin(
  host: string | undefined,
  forwardedProto: string | undefined,
  tls: boolean,
): string | undefined {
  if (host === undefined || !HOST.test(host)) return undefined;
  const scheme =
    forwardedProto === 'http' || forwardedProto === 'https'
      ? forwardedProto
      : tls
        ? 'https'
        : 'http';
  return `${scheme}://${host}`;
}
