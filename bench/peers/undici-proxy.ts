import { createServer } from 'node:http';
import { Pool, type Dispatcher } from 'undici';

/** The other afternoon: undici's dispatch straight into Node's response, and nothing else. */
const [, , upstream = '', port = ''] = process.argv;
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
  pool.dispatch({ method, path: url, headers, body: hasBody ? incoming : null }, handler);
}).listen(Number(port), '127.0.0.1');
