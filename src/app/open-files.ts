import { readFileSync } from 'node:fs';
import { servedApis, type Config } from '../config/config.ts';
import { isSocketPath } from '../config/values.ts';
import type { ConnectionLimits } from '../gateway/connections/connections.ts';
import { MAX_TUNNELS } from '../gateway/proxy/tunnels.ts';

/** The limit that is assumed where the host does not state one. */
const ASSUMED_LIMIT = 1024;
/** Descriptors for Redis, the log, certificates and Node itself. */
const OTHER_FILES = 64;
/** Connections of operators and probes to the admin listener. */
export const MAX_ADMIN_CONNECTIONS = 256;
/**
 * A connection takes 13 KB, and up to 64 KiB more while the head of a request arrives. So the default
 * is not higher, whatever the host allows: docs/security.md adds up what callers can take.
 */
const MAX_DEFAULT = 4000;

/** How many files and sockets this process may open, by /proc/self/limits of Linux. */
export function openFilesLimit(
  readLimits: () => string = () => readFileSync('/proc/self/limits', 'utf8'),
): number {
  try {
    const [, soft = ''] = /^Max open files +(\S+)/m.exec(readLimits()) ?? [];
    if (soft === 'unlimited') return Infinity;
    return /^\d+$/.test(soft) ? Number(soft) : ASSUMED_LIMIT;
  } catch {
    return ASSUMED_LIMIT;
  }
}

/**
 * How many connections callers may have when no setting says so: what the limit of open files leaves
 * after the sockets to the API, the admin listener, the far ends of tunnels, and the rest. The sockets
 * count twice, because an aborted one may still be closing when its permit is taken again. Where the
 * limit is too small for that, it is a quarter of the limit.
 */
export function defaultMaxConnections(
  filesLimit: number,
  upstreamConnections: number,
  tunnels = 0,
): number {
  const reserve = 2 * upstreamConnections + MAX_ADMIN_CONNECTIONS + tunnels + OTHER_FILES;
  const left = Math.max(Math.floor(filesLimit / 4), filesLimit - reserve);
  return Math.max(1, Math.min(left, MAX_DEFAULT));
}

/** How many connections callers may have, by the settings, else by the host. */
export function connectionLimits(config: Config): ConnectionLimits {
  const upstreams = servedApis(config).map((api) => api.config.upstream);
  const upstreamConnections = upstreams.reduce((sum, { connections }) => sum + connections, 0);
  const tunnels = config.intercept?.others === 'tunnel' ? MAX_TUNNELS : 0;
  const maxConnections =
    config.maxConnections ?? defaultMaxConnections(openFilesLimit(), upstreamConnections, tunnels);
  // All connections to a Unix socket come from this machine, and have no address.
  const haveAddress = !isSocketPath(config.listen) || config.intercept !== undefined;
  const maxConnectionsPerAddress = !haveAddress
    ? maxConnections
    : (config.maxConnectionsPerAddress ?? Math.ceil(maxConnections / 2));
  return { maxConnections, maxConnectionsPerAddress };
}
