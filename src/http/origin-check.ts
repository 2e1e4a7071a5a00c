/**
 * Tells requests that a web page of another site made a browser send from all others. A page can
 * reach whatever its reader's browser can, `localhost` and the inner network included, and a name
 * that the page's owner holds can be made to resolve to any address (DNS rebinding). Services and
 * command lines send none of these fields, and a Host that is ours.
 */

/** The fields of a request that say which page sent it, as Node gives them. */
export interface SiteFields {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | undefined;
}

/**
 * Whether a browser sent this for a page of another origin. `same-site` counts as another: every
 * port of localhost is one site, and not all of them are ours. `Origin: null`, which a sandboxed
 * page has, equals no host.
 */
export function isCrossSite({ host, origin, 'sec-fetch-site': site }: SiteFields): boolean {
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  if (origin === undefined) return false;
  return origin.toLowerCase().replace(/^https?:\/\//, '') !== host?.toLowerCase();
}

/** Names that no stranger can hold: they are not given out in the public DNS. */
const PRIVATE_NAME = /^(?:[a-z0-9_-]+|(?:.+\.)?(?:localhost|svc|cluster\.local|internal))$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/**
 * Makes the check that a Host field (`host` or `host:port`) is a name of ours: one of `names`, an
 * IP address, a name without a dot, or one under a suffix that is not given out in public
 * (`.localhost`, `.internal`, and Kubernetes' `.svc` and `.cluster.local`). Whoever rebinds DNS
 * needs a name that he holds, and the browser puts that name into Host. No Host at all, which
 * HTTP/1.0 allows and no browser does, is ours.
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

/** Whether who listens on `host` can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^::ffff:/, '');
  return address === 'localhost' || address === '::1' || /^127(?:\.\d{1,3}){3}$/.test(address);
}
