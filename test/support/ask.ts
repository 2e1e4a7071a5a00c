import { Agent, request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';

export interface AskOptions {
  readonly method?: string;
  /** Pairs in an object, or name, value, name, value … to repeat one. */
  readonly headers?: OutgoingHttpHeaders | readonly string[];
  readonly body?: string | Buffer;
  /** The address to call from, such as 127.0.0.2, which the gateway takes for another host. */
  readonly from?: string;
  /** Closes the connection when it is aborted. */
  readonly signal?: AbortSignal;
  readonly agent?: Agent;
  /** Called with each part of the body as it arrives. */
  readonly onData?: (part: Buffer) => void;
}

/** The answer as the client received it. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly trailers: NodeJS.Dict<string>;
  /** The status of each informational answer before the final one, and its headers. */
  readonly early: readonly { readonly status: number; readonly headers: IncomingHttpHeaders }[];
  readonly body: Buffer;
  readonly text: string;
  /** Whether the answer is complete, not cut off. */
  readonly complete: boolean;
  /** Milliseconds from the request to the end of the answer. */
  readonly tookMs: number;
}

/** Uses a connection of its own for each request. */
const PLAIN = new Agent({ keepAlive: false, maxSockets: Infinity });

/**
 * Sends a request exactly as given, and resolves when the answer ends or breaks off. Rejects when
 * there is no answer.
 */
export function ask(url: string, options: AskOptions = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body, from, signal, agent = PLAIN, onData } = options;
  const { hostname, port } = new URL(url);
  // The request target is sent as it is written; `new URL` would normalise it.
  const path = url.slice(url.indexOf('/', 'http://'.length)) || '/';
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request({
      hostname: hostname.replaceAll(/[[\]]/g, ''),
      port,
      path,
      method,
      agent,
      headers: Array.isArray(headers) ? ['Host', `${hostname}:${port}`, ...headers] : headers,
      ...(from === undefined ? {} : { localAddress: from }),
      ...(signal === undefined ? {} : { signal }),
    });
    const early: { status: number; headers: IncomingHttpHeaders }[] = [];
    outgoing.on('information', (info) => {
      early.push({ status: info.statusCode, headers: info.headers });
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        onData?.(chunk);
      });
      incoming.on('error', () => undefined);
      incoming.on('close', () => {
        const bytes = Buffer.concat(chunks);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          rawHeaders: incoming.rawHeaders,
          trailers: incoming.trailers,
          early,
          body: bytes,
          text: bytes.toString(),
          complete: incoming.complete,
          tookMs: performance.now() - startedAt,
        });
      });
    });
    outgoing.end(body);
  });
}

/** Sends `count` requests at once. */
export function askMany(count: number, one: (index: number) => Promise<Answer>): Promise<Answer[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => one(index)));
}
