import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { isHost, readConnect, readProxyKey } from '../../http/proxy-connect.ts';
import { makeHostTls, type HostTlsDependencies } from './host-tls.ts';
import { GatewayError } from '../problem.ts';
import { makeProxyKeyProblem, type ProxyKeyDependencies } from './proxy-keys.ts';
import type { IsOwnAuthority } from '../identify/request-checks.ts';
import type { HostOf } from '../routes.ts';
import type { RefusedRequest } from '../connections/socket-refusals.ts';
import type { Tunnels } from './tunnels.ts';

export interface InterceptionDependencies extends HostTlsDependencies, ProxyKeyDependencies {
  /** The port of each host that Headgate answers for. */
  readonly hosts: ReadonlyMap<string, number>;
  /** For other hosts; `undefined`: they are refused. */
  readonly tunnels: Tunnels | undefined;
}

/** What the listener does for a CONNECT. */
export interface ConnectSteps {
  /** Whether all requests before it on its connection have their answers. */
  readonly isFirst: boolean;
  readonly refuse: (error: GatewayError, request: Omit<RefusedRequest, 'method'>) => void;
  /** The connection carries no requests in cleartext any more. */
  readonly handOver: (to: 'tls' | 'tunnel') => void;
  /** Serves the requests in a TLS connection. */
  readonly carry: (secured: TLSSocket) => void;
}

/**
 * Answers for the hosts of APIs where a client, which has their addresses built in, uses Headgate as
 * its proxy. The TLS of such a connection ends here, and its requests are ordinary calls
 * (docs/decisions/0045).
 */
export interface Interception {
  /** Answers a CONNECT: a handshake, a tunnel, or a refusal. */
  connect(incoming: IncomingMessage, head: Buffer, steps: ConnectSteps): void;
  /** The host that a call of the proxy is for: that of its CONNECT, or that of an absolute target. */
  readonly hostOf: HostOf;
  readonly isOwnAuthority: IsOwnAuthority;
}

const HTTPS = 443;
const NO_PROXY_REQUEST =
  'expected CONNECT or an absolute target: this address is a proxy, for HTTPS_PROXY';

export function makeInterception(dependencies: InterceptionDependencies): Interception {
  const { hosts, tunnels, callerOfKey, proxyKeys, peers } = dependencies;
  const hostTls = makeHostTls([...hosts.keys()], dependencies);
  const keyProblem = makeProxyKeyProblem(dependencies);

  function connect(incoming: IncomingMessage, head: Buffer, steps: ConnectSteps): void {
    const { socket, url = '', headers } = incoming;
    const caller = peers.of(socket);
    if (hostTls.hostOf(socket) !== undefined) {
      const detail = 'CONNECT inside a connection of another CONNECT is not supported';
      return steps.refuse(new GatewayError('method-not-supported', detail), { caller });
    }
    const target = readConnect(url, headers);
    if (target.kind === 'bad' || countOf(incoming, 'host') > 1) {
      const reason = target.kind === 'bad' ? target.reason : 'expected one Host field, got several';
      return steps.refuse(new GatewayError('bad-request', reason), { caller });
    }
    const { host, port } = target;
    const path = `${host}:${port}`;
    if (!steps.isFirst) {
      const detail = 'expected CONNECT after the answers to all requests before it';
      return steps.refuse(new GatewayError('bad-request', detail), { caller, path });
    }
    const open = (): void => {
      const error = openFor(incoming, head, host, port, steps);
      if (error !== undefined) steps.refuse(error, { caller, path });
    };
    const problem = keyProblem(incoming, false);
    if (problem === undefined) return open();
    if (problem instanceof GatewayError) return steps.refuse(problem, { caller, path });
    void problem.then((error) => steps.refuse(error, { caller, path }));
  }

  /** Begins TLS or a tunnel for a CONNECT; returns why it does neither. */
  function openFor(
    incoming: IncomingMessage,
    head: Buffer,
    host: string,
    port: number,
    steps: ConnectSteps,
  ): GatewayError | undefined {
    const own = hosts.get(host);
    if (own === port) {
      beginTls(incoming, head, host, steps);
      return undefined;
    }
    // A host that Headgate answers for is never passed on unread, whatever the port.
    if (own !== undefined || port !== HTTPS) {
      return new GatewayError('forbidden-target', `expected port ${own ?? HTTPS}, got ${port}`);
    }
    if (tunnels === undefined) {
      const detail = `expected a host in HEADGATE_INTERCEPT, got ${host}; HEADGATE_INTERCEPT_OTHERS=tunnel passes others on`;
      return new GatewayError('forbidden-target', detail);
    }
    const { socket, headers } = incoming;
    const key = readProxyKey(headers['proxy-authorization']);
    const isAllowed = (): boolean => {
      const known = callerOfKey();
      return known === undefined || (key !== undefined && known(key) !== undefined);
    };
    tunnels.open(socket, head, { host, port, address: peers.of(socket), isAllowed }, steps);
    return undefined;
  }

  /** Ends the TLS of a connection here. Its requests have the key of its CONNECT. */
  function beginTls(
    { socket, headers }: IncomingMessage,
    head: Buffer,
    host: string,
    steps: ConnectSteps,
  ): void {
    const key = readProxyKey(headers['proxy-authorization']);
    steps.handOver('tls');
    hostTls.begin(socket, head, host, (secured) => {
      if (key !== undefined) proxyKeys.note(secured, key);
      steps.carry(secured);
    });
  }

  return {
    connect,
    isOwnAuthority(authority, socket) {
      const host = hostTls.hostOf(socket);
      if (host !== undefined) return authority === authorityOf(host);
      return [...hosts.keys()].some((each) => authority === authorityOf(each));
    },
    hostOf({ incoming }) {
      const { socket, headers, url = '' } = incoming;
      const host = hostTls.hostOf(socket);
      if (host !== undefined) {
        if (headers.host === undefined || isHost(headers.host, host)) return host;
        throw new GatewayError('misdirected', misdirected(headers.host, host));
      }
      const named = URL.parse(url)?.hostname;
      if (named === undefined) throw new GatewayError('bad-request', NO_PROXY_REQUEST);
      if (headers.host !== undefined && !isHost(headers.host, named)) {
        throw new GatewayError('bad-request', misdirected(headers.host, named));
      }
      const problem = keyProblem(incoming, true);
      if (problem === undefined) return named;
      if (problem instanceof GatewayError) throw problem;
      return problem.then((error) => {
        throw error;
      });
    },
  };

  /** The authority of a host, without the default port. */
  function authorityOf(host: string): string {
    const port = hosts.get(host);
    return port === HTTPS ? host : `${host}:${port}`;
  }
}

/** RFC 9110 §7.4: another Host than that of the connection may be an attempt to pass a filter. */
function misdirected(got: string, host: string): string {
  return `expected the Host ${host}, for which this request was opened, got ${JSON.stringify(got.slice(0, 80))}`;
}

function countOf({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) count++;
  }
  return count;
}
