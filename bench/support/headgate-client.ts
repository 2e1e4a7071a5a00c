import { Agent, request } from 'node:http';

/** What came back for one call. */
export interface Answered {
  readonly status: number;
  readonly ms: number;
}

/** Callers of a gateway: each call on a socket of its own, kept for the next. */
export function makeClient(): {
  call(url: string, headers?: Readonly<Record<string, string>>, method?: string): Promise<Answered>;
  close(): void;
} {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  return {
    call(url, headers = {}, method = 'GET') {
      const startedAt = performance.now();
      return new Promise((resolve, reject) => {
        const outgoing = request(url, { agent, headers, method }, (incoming) => {
          incoming.resume();
          incoming.once('end', () =>
            resolve({ status: incoming.statusCode ?? 0, ms: performance.now() - startedAt }),
          );
          incoming.once('error', reject);
        });
        outgoing.once('error', reject);
        outgoing.end();
      });
    },
    close: () => agent.destroy(),
  };
}
