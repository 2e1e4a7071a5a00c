import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';

/** A proxy in front of a server, with faults that a test switches on. */
export interface FaultProxy {
  readonly port: number;
  /** Leads further connections to a server on another port. */
  leadTo(port: number): void;
  /** Cuts every connection after the first `bytes` of its next reply. */
  cutMidReply(bytes: number): void;
  /** While set, published messages reach no subscriber. */
  dropMessages(drop: boolean): void;
  /** The number of published messages that were dropped. */
  readonly dropped: number;
  close(): Promise<void>;
}

interface Wire {
  readonly client: Socket;
  readonly server: Socket;
  /** The number of bytes after which the next reply breaks off. */
  cutAfter: number | undefined;
}

/** The start of a published message, in both versions of the protocol. */
const MESSAGE = /^(?:>|\*)3\r\n\$7\r\nmessage\r\n/;

/** Starts a proxy that forwards bytes between a port of its own and the server's. */
export async function startFaultProxy(serverPort: number): Promise<FaultProxy> {
  let target = serverPort;
  const pairs = new Set<Wire>();
  let drop = false;
  let dropped = 0;
  const listener = createServer((client) => {
    const server = connect(target, '127.0.0.1');
    const pair: Wire = { client, server, cutAfter: undefined };
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', end);
    }
    client.on('data', (bytes) => server.write(bytes));
    server.on('data', (bytes: Buffer) => {
      if (drop && MESSAGE.test(bytes.toString('latin1'))) {
        dropped++;
        return;
      }
      if (pair.cutAfter === undefined) {
        client.write(bytes);
      } else {
        client.write(bytes.subarray(0, pair.cutAfter));
        client.end();
        server.destroy();
      }
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    port: address.port,
    leadTo(port) {
      target = port;
    },
    cutMidReply(bytes) {
      for (const pair of pairs) pair.cutAfter = bytes;
    },
    dropMessages(value) {
      drop = value;
    },
    get dropped() {
      return dropped;
    },
    async close() {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      listener.close();
      await once(listener, 'close');
    },
  };
}
