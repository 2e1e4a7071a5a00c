import type { Config } from '../config/config.ts';

/** What the common reasons mean (listen(2), bind(2), getaddrinfo(3)). */
const REASONS: ReadonlyMap<string, { readonly expected: string; readonly which: string }> = new Map(
  [
    ['EADDRINUSE', { expected: 'a free address', which: 'another process has taken' }],
    ['EACCES', { expected: 'an address that this user may use', which: 'needs more rights' }],
    ['EADDRNOTAVAIL', { expected: "one of this host's addresses", which: 'is none of them' }],
    ['ENOTFOUND', { expected: 'a host name that resolves', which: 'does not' }],
  ],
);

/**
 * Says in one line why a listener could not start, and which setting to change; `undefined` for an
 * error that is no such thing.
 */
export function describeListenFailure(
  error: unknown,
  { adminListen }: Pick<Config, 'adminListen'>,
): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, address, hostname, port }: NodeJS.ErrnoException & FailedAddress = error;
  const reason = REASONS.get(code ?? '');
  const host = address ?? hostname;
  if (reason === undefined || host === undefined) return undefined;
  // A name that does not resolve comes without its port.
  const isAdmin =
    adminListen !== 'off' &&
    host === adminListen.host &&
    (port ?? adminListen.port) === adminListen.port;
  const setting = isAdmin ? 'HEADGATE_ADMIN_LISTEN' : 'HEADGATE_LISTEN';
  const got = port === undefined ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return `${setting}: expected ${reason.expected}, got ${got}, which ${reason.which} (${code})`;
}

/** What Node puts on the errors of `listen`. */
interface FailedAddress {
  readonly address?: string;
  readonly hostname?: string;
  readonly port?: number;
}
