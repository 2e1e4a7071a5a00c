import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect, type Socket } from 'node:net';

export interface ForwardProxyOptions {
  /** The Proxy-Authorization that it requires. */
  readonly authorization?: string;
  /** The address that it connects to for every host, in place of a name server. */
  readonly to: string;
}

export interface ForwardProxy {
  readonly url: string;
  /** The method and target of each request that it received. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** Starts an HTTP proxy: CONNECT opens a tunnel, a request for an absolute URL is forwarded. */
export async function startForwardProxy({
  authorization,
  to,
}: ForwardProxyOptions): Promise<ForwardProxy> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const target = new URL(to);
  const server = createServer((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    const { 'proxy-authorization': shown, ...headers } = incoming.headers;
    if (shown !== authorization) {
      outgoing.writeHead(407, { 'proxy-authenticate': 'Basic realm="proxy"' }).end();
      return;
    }
    const { pathname, search } = new URL(incoming.url ?? '');
    const onward = request(
      {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: pathname + search,
        headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
        answer.pipe(outgoing);
      },
    );
    incoming.pipe(onward);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming, socket) => {
    asked.push(`CONNECT ${incoming.url}`);
    socket.on('error', () => undefined);
    if (incoming.headers['proxy-authorization'] !== authorization) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    const onward = connect(Number(target.port), target.hostname, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    asked,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
