import type { Socket } from 'node:net';
import { createServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { ESTABLISHED, isHost } from '../../http/proxy-connect.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';
import { connectionKey } from '../connections/caller-address.ts';
import type { Peers } from '../connections/peers.ts';

/** Certificates for the hosts that Headgate answers for, in PEM. */
export interface HostCertificates {
  of(host: string): { readonly cert: string; readonly key: string };
  /** Sets the function that is called when there are new ones. */
  onChange(run: () => void): void;
}

export interface HostTlsDependencies {
  readonly certificates: HostCertificates;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

/** Ends the TLS of connections to intercepted hosts, as the server of the host. */
export interface HostTls {
  /**
   * Answers a CONNECT and begins the handshake on its connection. `head` has the bytes behind the
   * CONNECT. `onSecured` receives the socket for the requests; it is not called if the handshake fails.
   */
  begin(socket: Socket, head: Buffer, host: string, onSecured: OnSecured): void;
  /** The host of a socket that `onSecured` received; `undefined` for any other socket. */
  hostOf(socket: Socket): string | undefined;
}

type OnSecured = (secured: TLSSocket) => void;

interface Handshake {
  readonly timer: Timer;
  readonly onSecured: OnSecured;
}

/** From the answer to a CONNECT to the end of the TLS handshake; other listeners have Node's 120 s. */
const HANDSHAKE_MS = 60_000;

export function makeHostTls(hosts: readonly string[], dependencies: HostTlsDependencies): HostTls {
  const { certificates, peers, clock, log } = dependencies;
  const hostBySocket = new WeakMap<Socket, string>();
  /** By the key of the connection, which its two sockets have in common. */
  const handshakes = new Map<string, Handshake>();
  const servers = new Map(hosts.map((host) => [host, serverFor(host)]));
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
      handshake.onSecured(socket);
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

  return {
    begin(socket, head, host, onSecured) {
      const key = connectionKey(socket);
      const timer = clock.after(HANDSHAKE_MS, () => socket.destroy());
      handshakes.set(key, { timer, onSecured });
      socket.once('close', () => endHandshake(key));
      // As on a listener with TLS: a client that ends its side in the handshake is gone.
      socket.allowHalfOpen = false;
      socket.write(ESTABLISHED);
      // A client may have sent its part of the handshake without waiting for the answer.
      if (head.length > 0) socket.unshift(head);
      servers.get(host)?.emit('connection', socket);
    },
    hostOf: (socket) => hostBySocket.get(socket),
  };
}
