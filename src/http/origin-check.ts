/**
 * Detects requests that a web page of another origin made a browser send (cross-site request
 * forgery).
 *
 * Such a page reaches everything that its reader's browser reaches, including `localhost` and the
 * internal network. The page's owner can also make its own host name resolve to any address (DNS
 * rebinding). Services and command-line tools send no Origin or Sec-Fetch-Site, and their Host
 * names the gateway.
 */

/** The request fields that show which page sent a request, and for what, as Node gives them. */
export interface OriginFields {
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | undefined;
  readonly 'sec-fetch-mode'?: string | undefined;
  readonly 'sec-fetch-dest'?: string | undefined;
}

/**
 * Whether a browser sent the request for a page of another origin than `ownOrigin`, which is the
 * gateway's as the caller used it, if it is known.
 *
 * `Sec-Fetch-Site: same-site` counts as another origin: all ports of localhost are one site, and
 * other programs may listen on them. `Origin: null`, which a sandboxed page sends, equals none.
 */
export function isCrossOrigin(
  { origin, 'sec-fetch-site': site }: OriginFields,
  ownOrigin: string | undefined,
): boolean {
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  if (origin === undefined) return false;
  // A browser leaves out the default port, which a Host field may have.
  const own = ownOrigin === undefined ? null : URL.parse(ownOrigin);
  return own === null || origin.toLowerCase() !== own.origin;
}

/**
 * Whether a browser sent the request to show its answer in a tab, as a link or a bookmark does. The
 * page that contains the link cannot read the answer. A frame or a plug-in has another destination,
 * and a form that changes something has another method.
 */
export function opensInTab(method: string, fields: OriginFields): boolean {
  return (
    method === 'GET' &&
    fields.origin === undefined &&
    fields['sec-fetch-mode'] === 'navigate' &&
    fields['sec-fetch-dest'] === 'document'
  );
}

/** Names that cannot be registered, because the public DNS does not assign them. */
const PRIVATE_NAME = /^(?:[a-z0-9_-]+|(?:.+\.)?(?:localhost|svc|cluster\.local|internal))$/;
/** A country's top-level domain, which may have an address of its own, as `ai` had. */
const COUNTRY = /^(?:[a-z]{2}|xn--[a-z0-9-]*)$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/**
 * Makes the check that a Host field (`host` or `host:port`) names this gateway, against DNS
 * rebinding.
 *
 * These hosts pass: `names`, IP addresses, names without a dot that are no country's top-level
 * domain, and names under a suffix that the public DNS does not assign (`.localhost`, `.internal`,
 * and `.svc` and `.cluster.local` of Kubernetes). DNS rebinding needs a name that the attacker owns,
 * which the browser then sends as Host. A request without Host passes: HTTP/1.0 allows it, and
 * browsers always send Host.
 */
export function makeIsOurHost(
  names: readonly string[],
): (hostField: string | undefined) => boolean {
  const known = new Set(names.map((name) => name.toLowerCase()));

  function isOurs(hostField: string): boolean {
    // A dot at the end only states that a name is absolute.
    const host = hostField.toLowerCase().replace(/\.?(?::\d*)?$/, '');
    if (/^\[[0-9a-f:.]+\]$/.test(host) || IPV4.test(host)) return true;
    if (known.has(host)) return true;
    return PRIVATE_NAME.test(host) && !COUNTRY.test(host);
  }

  let accepted: string | undefined;
  return (hostField) => {
    // Most requests have the Host of the one before.
    if (hostField === undefined || hostField === accepted) return true;
    if (!isOurs(hostField)) return false;
    accepted = hostField;
    return true;
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
