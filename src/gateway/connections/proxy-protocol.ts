import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { readProxyHeader } from '../../http/proxy-protocol.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Clock } from '../../util/clock.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';
import type { Peers } from './peers.ts';
import type { IsTrustedProxy } from '../identify/trusted-proxies.ts';

export interface ProxyProtocolDependencies {
  readonly isTrustedProxy: IsTrustedProxy;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

/** How long a trusted proxy may take until its first byte, as any caller may. */
const FIRST_BYTES_MS = 60_000;

/**
 * Reads the header of the PROXY protocol at the start of connections from trusted proxies, before the
 * server reads them. It is optional, because the same proxies may also speak plain HTTP. Connections
 * from other addresses are not read: a header there is not HTTP, and is refused as such.
 */
export function acceptProxyProtocol(
  server: Server,
  { isTrustedProxy, peers, clock, log }: ProxyProtocolDependencies,
): void {
  const serve = server.listeners('connection');
  const mayWarn = makeOncePerMinute(clock);
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (isTrustedProxy(socket.remoteAddress) || isReset(socket)) readHeader(socket);
    else start(socket);
  });

  /** Whether it was reset before it was accepted: its address is unknown, so it may be a proxy's. */
  function isReset({ remoteAddress }: Socket): boolean {
    return remoteAddress === undefined && typeof server.address() !== 'string';
  }

  function start(socket: Socket): void {
    for (const listener of serve) Reflect.apply(listener, server, [socket]);
  }

  function readHeader(socket: Socket): void {
    let bytes = Buffer.alloc(0);
    const timer = clock.after(FIRST_BYTES_MS, () => socket.destroy());
    const onError = (): void => void socket.destroy();
    const stop = (): void => {
      timer.cancel();
      socket.off('readable', read).off('close', stop).off('error', onError);
    };
    const read = (): void => {
      const chunk: unknown = socket.read();
      if (!(chunk instanceof Buffer)) {
        if (socket.readableEnded || socket.destroyed) socket.destroy();
        return;
      }
      bytes = Buffer.concat([bytes, chunk]);
      const header = readProxyHeader(bytes);
      if (header.kind === 'incomplete') return;
      stop();
      // Behind the header of a proxy that is gone nothing can be answered.
      if (header.kind !== 'none' && isReset(socket)) {
        socket.destroy();
        return;
      }
      if (header.kind === 'bad') {
        refuse(socket, header.reason);
        return;
      }
      const { length, source } =
        header.kind === 'header' ? header : { length: 0, source: undefined };
      if (source !== undefined) peers.name(socket, source);
      if (bytes.length > length) socket.unshift(bytes.subarray(length));
      start(socket);
    };
    socket.on('readable', read).once('close', stop).on('error', onError);
    socket.once('end', () => {
      if (bytes.length === 0) socket.destroy();
    });
  }

  function refuse(socket: Socket, reason: string): void {
    const { remoteAddress } = socket;
    socket.destroy();
    if (!mayWarn()) return;
    log.warn({ remoteAddress, reason }, 'bad PROXY protocol header');
  }
}
