import { Readable } from 'node:stream';
import { Pool } from 'undici';
import type { Clock } from '../util/clock.ts';
import type { CallerSignal, SocketPermits } from '../ledger/ledger.ts';
import type { ProxyAddress } from '../http/proxy.ts';
import { makeDial, type DialAddress } from './dial.ts';
import { Exchange, type OnInterim, type SendResult, type UpstreamRequest } from './exchange.ts';

export interface UpstreamOptions {
  readonly origin: string;
  /** Maximum number of sockets, and so of requests in flight. */
  readonly connections: number;
  /** Milliseconds to connect, until the headers of an answer, and between chunks of its body. */
  readonly timeoutMs: number;
  /** After this time, or number of requests, a socket is closed when its answer has ended. */
  readonly socketLimits: { readonly maxAgeMs: number; readonly maxRequests: number };
  /** Dialled instead of the address that the API's name resolves to. */
  readonly address?: DialAddress | undefined;
  readonly proxy?: ProxyAddress | undefined;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
}

/** The API, and the sockets to it. */
export interface Upstream extends SocketPermits {
  /** How many socket permits are taken. */
  readonly inUse: number;
  /**
   * Sends a request once, with a permit from {@link SocketPermits.take}, which is released when the
   * exchange ends. Resolves when headers have arrived or can no longer arrive. Never rejects.
   */
  send(request: UpstreamRequest, signal: CallerSignal, onInterim: OnInterim): Promise<SendResult>;
  /** Releases a permit that was taken and not used. */
  release(): void;
  close(): Promise<void>;
}

/** The upstream with another way to send, such as one that traces it. */
export function withSend(upstream: Upstream, send: Upstream['send']): Upstream {
  return {
    get inUse() {
      return upstream.inUse;
    },
    get free() {
      return upstream.free;
    },
    take: () => upstream.take(),
    onFree: (run) => upstream.onFree(run),
    release: () => upstream.release(),
    close: () => upstream.close(),
    send,
  };
}

/**
 * How long an idle socket is kept, unless the API states its own time (`Keep-Alive: timeout=`).
 * Common servers close idle sockets after five seconds. A request that is written while the other
 * side closes may be lost, and not every request can be repeated.
 */
const KEEP_ALIVE_MS = 4000;
const MAX_CONNECT_MS = 10_000;
/** The longest time that an API can state. */
const MAX_KEEP_ALIVE_MS = 600_000;
const MAX_HEADER_BYTES = 64 * 1024;

export function makeUpstream(options: UpstreamOptions): Upstream {
  const { origin, connections, timeoutMs, address, proxy, ca, clock, socketLimits } = options;
  const dial = makeDial({
    origin,
    address,
    proxy,
    ca,
    timeoutMs: Math.min(timeoutMs, MAX_CONNECT_MS),
    clock,
    socketLimits,
  });
  const { pathPrefix } = dial;
  // Permits bound the requests in flight, not undici: a request must never wait in undici's queue,
  // which no metric shows. An aborted socket may still be closing when its permit is taken again,
  // hence twice as many connections.
  const pool = new Pool(dial.origin, {
    connections: connections * 2,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: dial.connect,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  let inUse = 0;
  let refused = false;
  let onFree: () => void = () => undefined;

  function release(): void {
    inUse--;
    if (!refused) return;
    refused = false;
    onFree();
  }

  return {
    get inUse() {
      return inUse;
    },
    get free() {
      refused ||= inUse >= connections;
      return connections - inUse;
    },
    take() {
      refused = inUse >= connections;
      if (!refused) inUse++;
      return !refused;
    },
    release,
    onFree(run) {
      onFree = run;
    },
    send({ method, path, headers, body, closesSocket }, signal, onInterim) {
      return new Promise((resolve) => {
        const exchange = new Exchange({
          clock,
          signal,
          throughProxy: pathPrefix !== '',
          onInterim,
          onResult: resolve,
          onEnd() {
            // undici does not destroy a body that it has not begun to send.
            if (body instanceof Readable) body.destroy();
            release();
          },
        });
        const toApi =
          pathPrefix === ''
            ? { method, path, headers, body }
            : {
                method,
                path: pathPrefix + path,
                headers: [...dial.headers, ...headers],
                body,
              };
        // With `reset`, undici sends `Connection: close`, and closes the socket even if the API does
        // not. By default it does so for HEAD, which some servers answer with a body. Bytes behind an
        // answer close the socket anyway.
        const hasOwnReset = closesSocket || method === 'HEAD';
        pool.dispatch(hasOwnReset ? { ...toApi, reset: closesSocket } : toApi, exchange);
      });
    },
    async close() {
      await pool.destroy();
    },
  };
}
