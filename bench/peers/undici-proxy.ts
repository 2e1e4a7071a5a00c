import { createServer } from 'node:http';
import { Redis } from 'ioredis';
import { Pool, type Dispatcher } from 'undici';

/**
 * The other afternoon: undici's dispatch straight into Node's response, and nothing else. With a
 * Redis, each call is counted there first, which is the least that a shared limit can cost.
 */
const [, , upstream = '', port = '', redisUrl] = process.argv;
const counter = redisUrl === undefined ? undefined : new Redis(redisUrl);
const pool = new Pool(upstream, { connections: 128, pipelining: 1, allowH2: false });

createServer((incoming, outgoing) => {
  const { method = 'GET', url = '/', rawHeaders } = incoming;
  const headers: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (!/^(?:host|connection|keep-alive|transfer-encoding)$/i.test(name)) {
      headers.push(name, rawHeaders[i + 1] ?? '');
    }
  }
  const hasBody = incoming.headers['content-length'] !== undefined;
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => undefined,
    onResponseStart(controller, status) {
      const raw = controller.rawHeaders;
      outgoing.writeHead(status, Array.isArray(raw) ? raw.map((part) => part.toString()) : []);
    },
    onResponseData: (_controller, chunk) => void outgoing.write(chunk),
    onResponseEnd: () => void outgoing.end(),
    onResponseError: () => void outgoing.destroy(),
  };
  const dispatch = (): void => {
    pool.dispatch({ method, path: url, headers, body: hasBody ? incoming : null }, handler);
  };
  if (counter === undefined) return dispatch();
  counter.incr('calls').then(dispatch, () => outgoing.destroy());
}).listen(Number(port), '127.0.0.1');

process.once('SIGTERM', () => process.exit());
