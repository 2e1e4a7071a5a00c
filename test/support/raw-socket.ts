import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

/** A connection on which a test writes and reads bytes, with no client in between. */
export class RawSocket {
  readonly socket: Socket;
  /** The bytes received so far, one character each. */
  received = '';
  /** How the peer ended it; `undefined` while it is open. */
  ended: 'end' | 'reset' | undefined;
  readonly #watchers = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.received += text;
      this.#look();
    });
    socket.on('error', () => {
      this.ended = 'reset';
      this.#look();
    });
    socket.on('close', () => {
      this.ended ??= 'end';
      this.#look();
    });
  }

  #look(): void {
    for (const watch of this.#watchers) watch();
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Resolves when the bytes received satisfy `seen`; rejects when the peer ends it before. */
  async until(seen: (received: string) => boolean): Promise<string> {
    await this.#wait(() => {
      if (seen(this.received)) return true;
      if (this.ended !== undefined) throw new Error(`${this.ended} after: ${this.received}`);
      return false;
    });
    return this.received;
  }

  /** Resolves to how it ended. */
  async end(): Promise<'end' | 'reset'> {
    await this.#wait(() => this.ended !== undefined);
    return this.ended ?? 'end';
  }

  #wait(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        try {
          if (!done()) return;
          resolve();
        } catch (error) {
          reject(error);
        }
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }
}

/** Connects to the host of a URL, with TLS when options for it are given. */
export async function openRaw(url: string, tls?: ConnectionOptions): Promise<RawSocket> {
  const { hostname, port } = new URL(url);
  const to = { host: hostname.replaceAll(/[[\]]/g, ''), port: Number(port) };
  const socket = tls === undefined ? connect(to) : connectTls({ ...to, ...tls });
  await once(socket, tls === undefined ? 'connect' : 'secureConnect');
  return new RawSocket(socket);
}

/** Sends bytes, and resolves to all bytes received when the peer has closed. */
export async function exchangeRaw(url: string, bytes: string): Promise<string> {
  const raw = await openRaw(url);
  raw.write(bytes);
  await raw.end();
  return raw.received;
}

export interface RawServer {
  readonly url: string;
  /** The connections so far, the latest last. */
  readonly connections: readonly RawSocket[];
  close(): Promise<void>;
}

/** Starts a server whose answers a test writes byte by byte. */
export async function startRawServer(onConnection: (raw: RawSocket) => void): Promise<RawServer> {
  const connections: RawSocket[] = [];
  const server = createServer((socket) => {
    const raw = new RawSocket(socket);
    connections.push(raw);
    onConnection(raw);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    connections,
    async close() {
      for (const { socket } of connections) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
