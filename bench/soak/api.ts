import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';

/** What no socket buffer holds, so that a slow reader holds its socket to the API. */
const BIG = Buffer.alloc(1024 ** 2, 'x');
const BIG_PARTS = 8;
const WINDOW_MS = 10_000;
const LIMIT = 2000;

export interface StandIn {
  readonly url: string;
  /** Requests that arrived. */
  readonly requests: number;
  close(): Promise<void>;
}

/**
 * Starts an API that counts each credential of the form `known-…` in windows of 10 s, and reports no
 * limit to any other. `/big` answers with 8 MiB, `/held` after 20 s.
 */
export async function startStandIn(): Promise<StandIn> {
  const windows = new Map<string, { until: number; count: number }>();
  let requests = 0;
  const held = new Set<NodeJS.Timeout>();

  function countFor(credential: string, outgoing: ServerResponse): boolean {
    const now = Date.now();
    let window = windows.get(credential);
    if (window === undefined || window.until <= now) {
      window = { until: now + WINDOW_MS, count: 0 };
      windows.set(credential, window);
    }
    window.count++;
    outgoing.setHeader('X-RateLimit-Limit', LIMIT);
    outgoing.setHeader('X-RateLimit-Remaining', Math.max(0, LIMIT - window.count));
    outgoing.setHeader('X-RateLimit-Reset', new Date(window.until).toISOString());
    return window.count <= LIMIT;
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, outgoing) => {
    requests++;
    const { authorization = '' } = incoming.headers;
    const isAllowed =
      !authorization.startsWith('token known-') || countFor(authorization, outgoing);
    outgoing.statusCode = isAllowed ? 200 : 429;
    incoming.resume();
    incoming.once('end', () => {
      if (incoming.url === '/big') {
        for (let i = 0; i < BIG_PARTS; i++) outgoing.write(BIG);
        outgoing.end();
      } else if (incoming.url === '/held') {
        const timer = setTimeout(() => {
          held.delete(timer);
          outgoing.end('{}');
        }, 20_000);
        held.add(timer);
      } else outgoing.end('{"results":[]}');
    });
  });
  server.listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    get requests() {
      return requests;
    },
    async close() {
      for (const timer of held) clearTimeout(timer);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
