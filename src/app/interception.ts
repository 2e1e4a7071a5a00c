import { servedApis, type Config } from '../config/config.ts';
import { makeCallerOfKey, type CallerOfKey } from '../gateway/identify/credentials.ts';
import { makeInterception, type Interception } from '../gateway/proxy/interception.ts';
import { dialForTunnels, makeTunnels } from '../gateway/proxy/tunnels.ts';
import { makeHostCertificates } from './host-certificates.ts';
import type { SharedParts } from './shared-parts.ts';

export interface InterceptionOptions {
  /** The settings in force, which a reload changes. */
  readonly config: () => Config;
  readonly shared: Pick<
    SharedParts,
    'clock' | 'log' | 'authThrottle' | 'peers' | 'proxyKeys' | 'keyHashKey'
  >;
  readonly newId: () => string;
}

/** Constructs the proxy's side for clients with a fixed address, if the settings have it. */
export async function startInterception({
  config,
  shared,
  newId,
}: InterceptionOptions): Promise<(Interception & { close(): void }) | undefined> {
  const { clock, log, authThrottle, peers, proxyKeys, keyHashKey } = shared;
  const { intercept } = config();
  if (intercept === undefined || proxyKeys === undefined) return undefined;
  const certificates = await makeHostCertificates({ intercept, clock, log });
  const tunnels =
    intercept.others === 'tunnel'
      ? makeTunnels({ dial: dialForTunnels, clock, newId, log })
      : undefined;
  let knownKeys: Config['callerKeys'] = [];
  let known: CallerOfKey | undefined;
  const interception = makeInterception({
    hosts: portsOf(intercept.hosts, config()),
    certificates,
    tunnels,
    callerOfKey() {
      const { callerKeys } = config();
      if (callerKeys !== knownKeys) {
        knownKeys = callerKeys;
        known = callerKeys.length === 0 ? undefined : makeCallerOfKey(callerKeys, keyHashKey);
      }
      return known;
    },
    proxyKeys,
    authThrottle,
    peers,
    clock,
    log,
  });
  return {
    ...interception,
    close() {
      tunnels?.close();
      certificates.close();
    },
  };
}

/** The port of each intercepted host, as the URL of its API has it. */
function portsOf(hosts: readonly string[], config: Config): ReadonlyMap<string, number> {
  const urls = servedApis(config).map((api) => new URL(api.config.upstream.origin));
  const ports = new Map(urls.map(({ hostname, port }) => [hostname, Number(port || 443)]));
  return new Map(hosts.map((host) => [host, ports.get(host) ?? 443]));
}
