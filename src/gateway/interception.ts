import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { createServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { AuthThrottle } from '../http/auth-throttle.ts';
import { ESTABLISHED, isHost, readConnect, readProxyKey } from '../http/proxy-connect.ts';
import type { Log } from '../telemetry/log.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { makeOncePerMinute } from '../util/once-per-minute.ts';
import { connectionKey } from './caller-address.ts';
import type { CallerOfKey } from './credentials.ts';
import type { Peers } from './peers.ts';
import { GatewayError } from './problem.ts';
import type { ProxyKeys } from './proxy-keys.ts';
import type { IsOwnAuthority } from './request-checks.ts';
import type { HostOf } from './routes.ts';
import type { RefusedRequest } from './socket-refusals.ts';
import type { Tunnels } from './tunnels.ts';

/** Certificates for the hosts that Headgate answers for, in PEM. */
export interface HostCertificates {
  of(host: string): { readonly cert: string; readonly key: string };
  /** Sets the function that is called when there are new ones. */
  onChange(run: () => void): void;
}

export interface InterceptionDependencies {
  /** The port of each host that Headgate answers for. */
  readonly hosts: ReadonlyMap<string, number>;
  readonly certificates: HostCertificates;
  /** For other hosts; `undefined`: they are refused. */
  readonly tunnels: Tunnels | undefined;
  /** Finds callers by their keys; returns `undefined` when callers need none. */
  readonly callerOfKey: () => CallerOfKey | undefined;
  readonly proxyKeys: ProxyKeys;
  readonly authThrottle: AuthThrottle;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
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

interface Handshake {
  readonly timer: Timer;
  readonly steps: ConnectSteps;
  readonly key: string | undefined;
}

/** From the answer to a CONNECT to the end of the TLS handshake; other listeners have Node's 120 s. */
const HANDSHAKE_MS = 60_000;
const HTTPS = 443;

export function makeInterception(dependencies: InterceptionDependencies): Interception {
  const { hosts, certificates, tunnels, callerOfKey, proxyKeys } = dependencies;
  const { authThrottle, peers, clock, log } = dependencies;
  /** The host of the CONNECT of each TLS connection. */
  const hostBySocket = new WeakMap<Socket, string>();
  const handshakes = new Map<string, Handshake>();
  const servers = new Map([...hosts.keys()].map((host) => [host, serverFor(host)]));
  const mayWarn = makeOncePerMinute(clock);
  let failures = 0;

  certificates.onChange(() => {
    for (const [host, server] of servers) server.setSecureContext(certificates.of(host));
  });

  /** The TLS of one host. It has a server of its own, so that no other name is served behind it. */
  function serverFor(host: string): TlsServer {
    const server = createServer({
      ...certificates.of(host),
      ALPNProtocols: ['http/1.1'],
      SNICallback(name, done) {
        const isOther = !isHost(name, host);
        // RFC 6066 §3: a server may end the handshake for a name that it does not serve here.
        done(
          isOther
            ? new Error(`the TLS handshake names ${JSON.stringify(name.slice(0, 80))}`)
            : null,
        );
      },
    });
    server.on('secureConnection', (socket) => {
      const key = connectionKey(socket);
      const handshake = handshakes.get(key);
      // Its connection was closed meanwhile.
      if (handshake === undefined) {
        socket.destroy();
        return;
      }
      endHandshake(key);
      hostBySocket.set(socket, host);
      if (handshake.key !== undefined) proxyKeys.note(socket, handshake.key);
      handshake.steps.carry(socket);
    });
    server.on('tlsClientError', ({ code, message }: NodeJS.ErrnoException, socket) => {
      // OpenSSL's messages are long, and its codes say as much.
      reportFailure(host, peers.of(socket), code ?? message);
      socket.destroy();
    });
    return server;
  }

  function endHandshake(key: string): void {
    handshakes.get(key)?.timer.cancel();
    handshakes.delete(key);
  }

  /** A client that does not trust the authority fails here, and nowhere else. */
  function reportFailure(host: string, address: string, reason: string): void {
    failures++;
    if (!mayWarn()) return;
    log.warn({ host, address, reason, failures }, 'intercepted handshakes failed');
    failures = 0;
  }

  /**
   * Why the sender of a request has no key of a known caller; `undefined` if it has one, or needs
   * none. The key is noted for `of`, on which the pipeline finds the caller.
   */
  function keyProblem(
    { headers, socket }: IncomingMessage,
    of: IncomingMessage | undefined,
  ): GatewayError | Promise<GatewayError> | undefined {
    const known = callerOfKey();
    if (known === undefined) return undefined;
    const key = readProxyKey(headers['proxy-authorization']);
    if (key === undefined) return new GatewayError('proxy-key-required', KEY_EXPECTED);
    if (known(key) !== undefined) {
      if (of !== undefined) proxyKeys.note(of, key);
      return undefined;
    }
    const failure = authThrottle.fail(peers.of(socket), (listener) => {
      socket.once('close', listener);
      return () => socket.off('close', listener);
    });
    if (failure.kind === 'too-many') {
      const { retryAfterMs } = failure;
      const why =
        'the key in Proxy-Authorization is unknown, as were many others from this address';
      return new GatewayError('too-many-unknown-keys', why, { retryAfterMs });
    }
    const problem = new GatewayError('proxy-key-required', KEY_UNKNOWN);
    return failure.kind === 'delayed' ? failure.over.then(() => problem) : problem;
  }

  function connect(incoming: IncomingMessage, head: Buffer, steps: ConnectSteps): void {
    const { socket, url = '', headers } = incoming;
    const caller = peers.of(socket);
    if (hostBySocket.has(socket)) {
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
    const problem = keyProblem(incoming, undefined);
    if (problem === undefined) return open();
    if (problem instanceof GatewayError) return steps.refuse(problem, { caller, path });
    void problem.then((error) => steps.refuse(error, { caller, path }));
  }

  function openFor(
    incoming: IncomingMessage,
    head: Buffer,
    host: string,
    port: number,
    steps: ConnectSteps,
  ): GatewayError | undefined {
    const own = hosts.get(host);
    if (own === port) {
      terminate(incoming, head, host, steps);
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
      return known === undefined || known(key) !== undefined;
    };
    tunnels.open(socket, head, { host, port, address: peers.of(socket), isAllowed }, steps);
    return undefined;
  }

  /** Begins TLS on a connection, as the server of the host. */
  function terminate(
    incoming: IncomingMessage,
    head: Buffer,
    host: string,
    steps: ConnectSteps,
  ): void {
    const { socket, headers } = incoming;
    const key = connectionKey(socket);
    const timer = clock.after(HANDSHAKE_MS, () => socket.destroy());
    handshakes.set(key, { timer, steps, key: readProxyKey(headers['proxy-authorization']) });
    socket.once('close', () => endHandshake(key));
    steps.handOver('tls');
    // As on a listener with TLS: a client that ends its side in the handshake is gone.
    socket.allowHalfOpen = false;
    socket.write(ESTABLISHED);
    // A client may have sent its part of the handshake without waiting for the answer.
    if (head.length > 0) socket.unshift(head);
    servers.get(host)?.emit('connection', socket);
  }

  return {
    connect,
    isOwnAuthority(authority, socket) {
      const host = hostBySocket.get(socket);
      if (host !== undefined) return authority === authorityOf(host);
      return [...hosts.keys()].some((each) => authority === authorityOf(each));
    },
    hostOf({ incoming }) {
      const { socket, headers, url = '' } = incoming;
      const host = hostBySocket.get(socket);
      if (host !== undefined) {
        if (headers.host === undefined || isHost(headers.host, host)) return host;
        throw new GatewayError('misdirected', misdirected(headers.host, host));
      }
      const named = URL.parse(url)?.hostname;
      if (named === undefined) throw new GatewayError('bad-request', NO_PROXY_REQUEST);
      if (headers.host !== undefined && !isHost(headers.host, named)) {
        throw new GatewayError('bad-request', misdirected(headers.host, named));
      }
      const problem = keyProblem(incoming, incoming);
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

const KEY_EXPECTED =
  'expected Proxy-Authorization: Basic with the key of a caller as its password, got none';
const KEY_UNKNOWN = 'the key in Proxy-Authorization is not that of a known caller';
const NO_PROXY_REQUEST =
  'expected CONNECT or an absolute target: this address is a proxy, for HTTPS_PROXY';

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
