/**
 * Detects requests that a web page of another origin made a browser send (cross-site request
 * forgery).
 *
 * Such a page reaches everything that its reader's browser reaches, including `localhost` and the
 * internal network. The page's owner can also make its own host name resolve to any address (DNS
 * rebinding). Services and command-line tools send no Origin or Sec-Fetch-Site, and their Host
 * names the gateway.
 */

/** The request fields that show which page sent a request, as Node gives them. */
export interface OriginFields {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | undefined;
}

/**
 * Whether a browser sent the request for a page of another origin.
 *
 * `Sec-Fetch-Site: same-site` counts as another origin: all ports of localhost are one site, and
 * other programs may listen on them. `Origin: null`, which a sandboxed page sends, equals no host.
 */
export function isCrossOrigin({ host, origin, 'sec-fetch-site': site }: OriginFields): boolean {
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  if (origin === undefined) return false;
  return origin.toLowerCase().replace(/^https?:\/\//, '') !== host?.toLowerCase();
}

/** Names that cannot be registered, because the public DNS does not assign them. */
const PRIVATE_NAME = /^(?:[a-z0-9_-]+|(?:.+\.)?(?:localhost|svc|cluster\.local|internal))$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/**
 * Makes the check that a Host field (`host` or `host:port`) names this gateway, against DNS
 * rebinding.
 *
 * These hosts pass: `names`, IP addresses, names without a dot, and names under a suffix that the
 * public DNS does not assign (`.localhost`, `.internal`, and `.svc` and `.cluster.local` of
 * Kubernetes). DNS rebinding needs a name that the attacker owns, which the browser then sends as
 * Host. A request without Host passes: HTTP/1.0 allows it, and browsers always send Host.
 */
export function makeIsOurHost(
  names: readonly string[],
): (hostField: string | undefined) => boolean {
  const known = new Set(names.map((name) => name.toLowerCase()));
  return (hostField) => {
    if (hostField === undefined) return true;
    const host = hostField.toLowerCase().replace(/:\d*$/, '');
    if (/^\[[0-9a-f:.]+\]$/.test(host) || IPV4.test(host)) return true;
    return PRIVATE_NAME.test(host) || known.has(host.replace(/\.$/, ''));
  };
}

/**
 * Whether only this machine can reach a listener on the address `host`. A web page is then the one
 * way in from outside, so these checks may be all that protects the listener.
 */
export function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^::ffff:/, '');
  return address === 'localhost' || address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(address);
}
