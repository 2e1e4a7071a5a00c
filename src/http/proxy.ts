/** A proxy on the way to the API, and the credentials in its URL. */
export interface ProxyAddress {
  readonly origin: string;
  /** The value of Proxy-Authorization. */
  readonly authorization: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy that the environment names for an origin, none, or what is wrong with it. */
export type ProxyChoice =
  | { readonly kind: 'direct' }
  | { readonly kind: 'proxy'; readonly proxy: ProxyAddress; readonly variable: string }
  | { readonly kind: 'bad'; readonly problem: string };

/** No proxy: the gateway connects to the API directly. */
export const direct: ProxyChoice = { kind: 'direct' };

/**
 * Chooses the proxy for an origin by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as other clients do. The
 * lower-case names take precedence. An empty variable counts as unset.
 */
export function proxyFor(env: Environment, origin: string): ProxyChoice {
  const { protocol, hostname, port } = new URL(origin);
  const names =
    protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy', 'HTTP_PROXY'];
  const variable = names.find((name) => (env[name] ?? '') !== '');
  if (variable === undefined) return direct;
  const originPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
  if (isExempt(env['no_proxy'] ?? env['NO_PROXY'] ?? '', hostname, originPort)) {
    return direct;
  }
  const text = env[variable] ?? '';
  const withScheme = text.includes('://') ? text : `http://${text}`;
  if (!/^https?:\/\//i.test(withScheme) || !URL.canParse(withScheme)) {
    // The value may contain a password, so the problem does not show it.
    const problem = `${variable}: expected an http:// or https:// URL, got ${text.length} characters that are not one`;
    return { kind: 'bad', problem };
  }
  const { origin: proxyOrigin, username, password } = new URL(withScheme);
  const credentials = `${decode(username)}:${decode(password)}`;
  const authorization =
    credentials === ':' ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
  return { kind: 'proxy', proxy: { origin: proxyOrigin, authorization }, variable };
}

/**
 * A name exempts itself and its subdomains, a network (`10.0.0.0/8`) the addresses in it, `*`
 * everything. A port restricts an entry.
 */
function isExempt(noProxy: string, hostname: string, port: string): boolean {
  const host = hostname.replaceAll(/[[\]]/g, '').toLowerCase();
  return noProxy.split(/[,\s]+/).some((entry) => {
    if (entry === '*') return true;
    if (entry.includes('/')) return isIn(host, entry);
    const [, bracketed, plain = '', onlyPort] =
      /^(?:\[([0-9A-Fa-f:.]+)\]|([^:]*|.*:.*:.*))(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const name = (bracketed ?? plain).replace(/^\*?\./, '');
    if (name === '' || (onlyPort !== undefined && onlyPort !== port)) return false;
    return host === name || host.endsWith(`.${name}`);
  });
}

/** Whether a host is an address in a network; a network with host bits counts as its own network. */
function isIn(host: string, network: string): boolean {
  const [, address = '', digits = ''] = /^\[?([0-9A-Fa-f.:]+)\]?\/(\d{1,3})$/.exec(network) ?? [];
  const inside = addressBits(host);
  const bits = addressBits(address);
  const prefix = Number(digits);
  if (inside === undefined || bits === undefined || inside.length !== bits.length) return false;
  return prefix <= bits.length && inside.startsWith(bits.slice(0, prefix));
}

/** The 32 or 128 binary digits of an IP address; `undefined` for anything else. */
function addressBits(text: string): string | undefined {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(text)) {
    const parts = text.split('.').map(Number);
    return parts.every((part) => part <= 255)
      ? parts.map((part) => digits(part, 8)).join('')
      : undefined;
  }
  // A URL writes an IPv6 address in hexadecimal digits alone.
  const normal = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
  if (normal === undefined || !text.includes(':')) return undefined;
  const [head = '', tail] = normal.split('::');
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return [...before, ...zeros, ...after].map((group) => digits(group, 16)).join('');
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

function digits(value: number, width: number): string {
  return value.toString(2).padStart(width, '0');
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
