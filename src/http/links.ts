/** Where a gateway's callers find what the API has at its own address. */
export interface LinkMap {
  /** The API's origin: `https://api.example.com`. */
  readonly apiOrigin: string;
  /** The path under which the gateway sees the API; empty, or `/v4`. */
  readonly basePath: string;
  /** The origin that the caller used: `http://127.0.0.1:8080`. */
  readonly callerOrigin: string;
}

const ABSOLUTE = /^(?:(https?):)?\/\/([^/?#\\@]*)([/?#].*)?$/is;
const LINK_TARGET = /<([^<>]*)>/g;

/**
 * A URI reference that leads to the API, turned into one that leads through the gateway; any other
 * one is returned as it is.
 *
 * An absolute reference keeps its form and gets the caller's origin; a path (`/v4/items`) stays a
 * path. Both lose the base path, which the gateway puts in front of what it is asked for. What lies
 * at the API's origin but outside the base path cannot be reached through the gateway and stays.
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

/** Every target of a Link field (RFC 8288 §3), rewritten as {@link rewriteLink} does. */
export function rewriteLinkField(value: string, map: LinkMap): string {
  return value.replaceAll(LINK_TARGET, (_, target: string) => `<${rewriteLink(target, map)}>`);
}

function sameOrigin(address: string, origin: string): boolean {
  return URL.canParse(address) && new URL(address).origin === origin;
}

/** `rest` begins with a slash, `?` or `#`, or is empty. */
function belowBase(rest: string, basePath: string): string | undefined {
  if (basePath === '') return rest;
  if (!rest.startsWith(basePath)) return undefined;
  const below = rest.slice(basePath.length);
  return below === '' || /^[/?#]/.test(below) ? below || '/' : undefined;
}

/** A host and perhaps a port, as a Host field has them; nothing that could end an URL's authority. */
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/**
 * The origin that a caller used, from its Host field and whether its connection was TLS. A proxy in
 * front of us that ended the caller's TLS says so in X-Forwarded-Proto. `undefined` when there is
 * no telling.
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
