import { Readable } from 'node:stream';
import { Pool } from 'undici';
import type { Clock } from '../util/clock.ts';
import type { CallerSignal, SocketPermits } from '../ledger/ledger.ts';
import type { ProxyAddress } from '../http/proxy.ts';
import { makeDial, type DialAddress } from './dial.ts';
import { Exchange, type Sent, type UpstreamRequest } from './exchange.ts';

export interface UpstreamOptions {
  readonly origin: string;
  /** Sockets, and so requests, at a time. */
  readonly connections: number;
  /** Milliseconds to connect, to the headers of an answer, and between chunks of its body. */
  readonly timeoutMs: number;
  /** Dialled instead of what the API's name points to. */
  readonly address?: DialAddress | undefined;
  readonly proxy?: ProxyAddress | undefined;
  /** Certificates to trust instead of the usual ones, PEM. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
}

/** The API at the other end, and the sockets to it. */
export interface Upstream extends SocketPermits {
  /** How many places are taken. */
  readonly inUse: number;
  /**
   * Sends a request once, on a place taken with {@link SocketPermits.take}, which comes free by itself
   * when the exchange is over. Resolves when headers came or cannot come any more; never rejects.
   */
  send(
    request: UpstreamRequest,
    signal: CallerSignal,
    onEarlyHints: (rawHeaders: string[]) => void,
  ): Promise<Sent>;
  /** Gives back a place that was taken and not used. */
  release(): void;
  close(): Promise<void>;
}

/**
 * An idle socket is kept for less than the five seconds after which common servers close theirs,
 * unless the API says how long it keeps it (`Keep-Alive: timeout=`): a request that is written while
 * the other side closes may be lost, and only some can be repeated.
 */
const KEEP_ALIVE_MS = 4000;
const MOST_CONNECT_MS = 10_000;
/** What is believed of an API that says it keeps sockets for long. */
const MOST_KEEP_ALIVE_MS = 600_000;
const MOST_HEADER_BYTES = 64 * 1024;

export function makeUpstream(options: UpstreamOptions): Upstream {
  const { origin, connections, timeoutMs, address, proxy, ca, clock } = options;
  const dial = makeDial({
    origin,
    address,
    proxy,
    ca,
    timeoutMs: Math.min(timeoutMs, MOST_CONNECT_MS),
  });
  const { pathPrefix } = dial;
  // SocketPermits bound what is out, not undici: a request must never queue where nobody sees it. A socket
  // that was broken off is still being closed when its place is taken again, hence the headroom.
  const pool = new Pool(dial.origin, {
    connections: connections * 2,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connect: dial.connect,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: MOST_KEEP_ALIVE_MS,
    maxHeaderSize: MOST_HEADER_BYTES,
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
    send({ method, path, headers, body }, signal, onEarlyHints) {
      return new Promise((resolve) => {
        const exchange = new Exchange({
          clock,
          signal,
          throughProxy: pathPrefix !== '',
          onEarlyHints,
          onSent: resolve,
          onOver() {
            // undici leaves a body alone that it never began to send.
            if (body instanceof Readable) body.destroy();
            release();
          },
        });
        if (pathPrefix === '') pool.dispatch({ method, path, headers, body }, exchange);
        else {
          const forProxy = { path: pathPrefix + path, headers: [...dial.headers, ...headers] };
          pool.dispatch({ method, body, ...forProxy }, exchange);
        }
      });
    },
    async close() {
      await pool.destroy();
    },
  };
}
