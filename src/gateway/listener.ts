import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import type { Gateway } from './gateway.ts';
import { GatewayError, toProblem, type ShedStatus } from './problem.ts';

export interface ListenerDependencies {
  readonly gateway: Gateway;
  readonly recorder: CallRecorder;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly shedStatus: ShedStatus;
}

/** Above the idle timeout of common load balancers (60 s), so that they close first. */
const KEEP_ALIVE_MS = 75_000;

/** The server that callers talk to. */
export interface Listener {
  readonly server: Server;
  /** Calls that have not ended. */
  readonly inFlight: number;
  /** From now on every answer says that its connection closes; calls are still taken. */
  retire(): void;
  /** Accepts no more connections, ends the idle ones; resolves when the last call has ended. */
  drain(): Promise<void>;
}

/**
 * Makes the server that callers talk to. What Node answers before there is a request (a malformed
 * line, CONNECT) gets a problem and a log line as well.
 *
 * It is Node's own server, with no router in front: every path goes the same way, and a framework
 * that refuses a request before the walk would leave no line (docs/decisions/0005).
 */
export function makeListener(dependencies: ListenerDependencies): Listener {
  const { gateway, recorder, clock, newId, shedStatus } = dependencies;
  const calls = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let draining = false;
  let onEmpty: (() => void) | undefined;

  async function take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    calls.add(outgoing);
    if (draining) outgoing.shouldKeepAlive = false;
    await gateway(incoming, outgoing);
    // Not over before the last byte left: whoever drains would cut the answer off.
    if (outgoing.writableFinished || outgoing.destroyed) over(outgoing);
    else outgoing.once('close', () => over(outgoing));
  }

  function over(outgoing: ServerResponse): void {
    calls.delete(outgoing);
    if (calls.size === 0) onEmpty?.();
  }

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
    // The gateway answers for its own failures; there is nothing to wait for here.
    void take(incoming, outgoing);
  });

  /** Ends the connections on which nothing is asked or still on its way out. */
  function endIdle(): void {
    const busy = new Set([...calls].map(({ socket }) => socket));
    for (const socket of sockets) if (!busy.has(socket)) socket.destroySoon();
  }

  /** For sockets that never became a request: the whole answer is ours to write. */
  function refuseSocket(socket: Duplex, error: GatewayError, method: string, target: string): void {
    const id = newId();
    const startedAt = clock.now();
    const { status, headers, body } = toProblem(error, id, shedStatus);
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, 'Connection: close'];
    for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
    if (socket.writable) socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
    else socket.destroy();
    recorder({
      id,
      caller: '',
      bucket: undefined,
      class: undefined,
      priority: undefined,
      method,
      path: target,
      query: '',
      status,
      outcome: 'failed',
      code: error.code,
      attempts: 0,
      waitMs: 0,
      upstreamMs: 0,
      totalMs: clock.now() - startedAt,
      bytesIn: 0,
      bytesOut: Buffer.byteLength(body),
      limit: undefined,
      remaining: undefined,
      resetInMs: undefined,
      waiting: 0,
    });
  }

  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  server.on('connect', (incoming: IncomingMessage, socket: Duplex) => {
    const error = new GatewayError(
      'method-not-supported',
      'CONNECT is not supported: Headgate is not a tunnel',
    );
    refuseSocket(socket, error, 'CONNECT', incoming.url ?? '');
  });

  server.on('clientError', (cause: Error & { code?: string }, socket: Duplex) => {
    // A connection that just went away sent no request, so there is no call to answer or log.
    if (cause.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    refuseSocket(
      socket,
      new GatewayError(
        'bad-request',
        `not a valid HTTP/1.1 request (${cause.code ?? cause.message})`,
        { cause },
      ),
      '',
      '',
    );
  });
  function retire(): void {
    draining = true;
    for (const outgoing of calls) {
      if (!outgoing.headersSent) outgoing.shouldKeepAlive = false;
    }
  }

  return {
    server,
    get inFlight() {
      return calls.size;
    },
    retire,
    drain() {
      retire();
      // http.Server's own close destroys every socket whose answer was handed over, though its last
      // bytes may still wait to be taken: stop listening, and end those that are idle in truth.
      NetServer.prototype.close.call(server);
      endIdle();
      return new Promise((resolve) => {
        if (calls.size === 0) resolve();
        else onEmpty = resolve;
      });
    },
  };
}
