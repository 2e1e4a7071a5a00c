import { Pool } from 'undici';
import type { Clock } from '../core/clock.ts';
import type { Leaving, Places } from '../ledger/ledger.ts';
import { Exchange, type Sent, type UpstreamRequest } from './exchange.ts';

export interface UpstreamOptions {
  readonly origin: string;
  /** Sockets, and so requests, at a time. */
  readonly connections: number;
  /** Milliseconds to connect, to the headers of an answer, and between chunks of its body. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** The API at the other end, and the sockets to it. */
export interface Upstream extends Places {
  /** How many places are taken. */
  readonly inUse: number;
  /**
   * Sends a request once, on a place taken with {@link Places.take}, which comes free by itself
   * when the exchange is over. Resolves when headers came or cannot come any more; never rejects.
   */
  send(
    request: UpstreamRequest,
    leaving: Leaving,
    onEarlyHints: (rawHeaders: string[]) => void,
  ): Promise<Sent>;
  /** Gives back a place that was taken and not used. */
  release(): void;
  close(): Promise<void>;
}

/** Idle sockets are kept for a little less than what common servers and balancers allow. */
const KEEP_ALIVE_MS = 50_000;

export function makeUpstream({ origin, connections, timeoutMs, clock }: UpstreamOptions): Upstream {
  // Places bound what is out, not undici: a request must never queue where nobody sees it. A socket
  // that was broken off is still being closed when its place is taken again, hence the headroom.
  const pool = new Pool(origin, {
    connections: connections * 2,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connectTimeout: Math.min(timeoutMs, 10_000),
    keepAliveTimeout: KEEP_ALIVE_MS,
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
    take() {
      refused = inUse >= connections;
      if (!refused) inUse++;
      return !refused;
    },
    release,
    onFree(run) {
      onFree = run;
    },
    send({ method, path, headers, body }, leaving, onEarlyHints) {
      return new Promise((resolve) => {
        const exchange = new Exchange({
          clock,
          leaving,
          onEarlyHints,
          onSent: resolve,
          onOver: release,
        });
        pool.dispatch({ method, path, headers, body }, exchange);
      });
    },
    async close() {
      await pool.destroy();
    },
  };
}
