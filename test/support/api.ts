import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

export interface ApiOptions {
  /** The certificate and key with which it speaks TLS. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  readonly keepAliveTimeoutMs?: number;
  /** The address to listen on; 127.0.0.1 by default. */
  readonly host?: string;
}

/** A request as the API received it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  /** The server name in its TLS handshake. */
  readonly servername: string | false | undefined;
  /** The address at which it arrived. */
  readonly address: string | undefined;
}

export interface Api {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** The number of connections so far. */
  readonly connections: number;
  close(): Promise<void>;
}

/** Starts an API that answers with `answer`, and keeps the requests that it received. */
export async function startApi(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown,
  { tls, keepAliveTimeoutMs = 30_000, host = '127.0.0.1' }: ApiOptions = {},
): Promise<Api> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  const options = { keepAliveTimeout: keepAliveTimeoutMs };
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { method = '', url = '', headers, rawHeaders, socket } = incoming;
    const servername =
      'servername' in socket &&
      (typeof socket.servername === 'string' || socket.servername === false)
        ? socket.servername
        : undefined;
    seen.push({ method, url, headers, rawHeaders, servername, address: socket.localAddress });
    answer(incoming, outgoing);
  };
  const server =
    tls === undefined
      ? createServer(options, onRequest)
      : createTlsServer({ ...options, ...tls }, onRequest);
  server.on('connection', () => connections++);
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the API has no port');
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`,
    seen,
    get connections() {
      return connections;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
