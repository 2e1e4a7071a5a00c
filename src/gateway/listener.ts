import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import { DRAINING_RETRY_MS } from '../ledger/too-late.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import { Call } from './call.ts';
import type { Gateway } from './gateway.ts';
import { parserProblem } from './parser-problem.ts';
import { DRAINING_DETAIL, GatewayError, type ShedStatus } from './problem.ts';
import { makeRefuseSocket } from './refuse-socket.ts';
import type { Tls } from './tls.ts';

export interface ListenerDependencies {
  readonly gateway: Gateway;
  readonly recorder: CallRecorder;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly shedStatus: ShedStatus;
  /** How long a connection may be idle. */
  readonly keepAliveTimeoutMs: number;
  /** Speak TLS with these; `undefined` speaks cleartext. */
  readonly tls: Tls | undefined;
}

/** The request line and all headers, in bytes; more is a 431. */
export const MOST_HEADER_BYTES = 64 * 1024;
/** From the first byte of a request to the end of its headers. */
const HEADERS_TIMEOUT_MS = 60_000;
/** A caller whose host vanished is found out after this long and some seconds. */
const PROBE_IDLE_PEER_MS = 15_000;

/** How long the rest of a body may come whose call has its answer. */
const MOST_DROPPING_MS = 30_000;

/** The server that callers talk to. */
export interface Listener {
  readonly server: Server;
  /** Calls that have not ended. */
  readonly inFlight: number;
  /** From now on every answer says that its connection closes; calls are still taken. */
  retire(): void;
  /** Accepts no more connections, ends the idle ones; resolves when the last call has ended. */
  drain(): Promise<void>;
  /** Refuses what has no answer yet, wherever it stands. */
  refuseRest(): void;
  /** Breaks every connection, those too on which nothing was asked yet. */
  close(): void;
}

/**
 * Makes the server that callers talk to. What Node answers before there is a request (a malformed
 * line, CONNECT) gets a problem and a log line as well.
 *
 * It is Node's own server, with no router in front: every path goes the same way, and a framework
 * that refuses a request before the walk would leave no line (docs/decisions/0005).
 *
 * Nobody listens for `upgrade`, so Node takes a request that offers one for what it is without it
 * (RFC 9110 §7.8): Java's default client offers h2c with every request.
 */
export function makeListener(dependencies: ListenerDependencies): Listener {
  const { gateway, clock, newId, keepAliveTimeoutMs, tls } = dependencies;
  const refuseSocket = makeRefuseSocket(dependencies);
  const calls = new LinkedList<Call>();
  /** They have had their answer; what else the parser says of their bytes is the same again. */
  const refused = new WeakSet<Duplex>();
  let draining = false;
  let onEmpty: (() => void) | undefined;

  async function take(call: Call): Promise<void> {
    calls.add(call);
    const { outgoing } = call;
    if (draining) outgoing.shouldKeepAlive = false;
    await gateway(call);
    if (!call.incoming.complete) dropRest(call.incoming);
    // Not over before the last byte left: whoever drains would cut the answer off.
    if (outgoing.writableFinished || outgoing.destroyed) over(call);
    else outgoing.once('close', () => over(call));
  }

  /**
   * An answer may come before all of the body has. Its rest is read and forgotten, for a while: it
   * stands before the next request on the connection, and a connection that is closed with something
   * unread takes the answer with it.
   */
  function dropRest(incoming: IncomingMessage): void {
    const { socket } = incoming;
    const timer = clock.after(MOST_DROPPING_MS, () => socket.destroy());
    // A request whose answer is out hears nothing of its socket's end.
    const stop = (): void => {
      timer.cancel();
      socket.off('close', stop);
    };
    socket.once('close', stop);
    incoming.once('end', stop);
    incoming.unpipe();
    incoming.resume();
  }

  function over(call: Call): void {
    calls.delete(call);
    if (calls.size === 0) onEmpty?.();
  }

  function callFor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    expectsContinue = false,
  ): Call {
    return new Call(newId(), incoming, outgoing, clock.now(), expectsContinue);
  }

  const options: ServerOptions = {
    keepAliveTimeout: keepAliveTimeoutMs,
    maxHeaderSize: MOST_HEADER_BYTES,
    // An upload may wait for its turn, and take its time: the body's own idle timeout ends it.
    requestTimeout: 0,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // A missing Host is ours to refuse: Node's refusal would leave no line.
    requireHostHeader: false,
    keepAlive: true,
    keepAliveInitialDelay: PROBE_IDLE_PEER_MS,
  };
  // The gateway answers for its own failures; there is nothing to wait for here.
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void =>
    void take(callFor(incoming, outgoing));
  const server: Server =
    tls === undefined ? createServer(options, onRequest) : tlsServer(options, tls, onRequest);
  const connections = follow(server, tls === undefined ? 'connection' : 'secureConnection');
  /** As they were accepted: with TLS each carries one of the `connections`, from its handshake on. */
  const accepted = tls === undefined ? connections : follow(server, 'connection');
  // The size is bounded already; Node would drop the headers beyond a count without a word.
  server.maxHeadersCount = 0;

  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    void take(callFor(incoming, outgoing, true));
  });

  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const call = callFor(incoming, outgoing);
    const got = JSON.stringify(incoming.headers.expect ?? '');
    call.cutOff(
      new GatewayError('expectation-failed', `Expect: expected 100-continue, got ${got}`),
    );
    void take(call);
  });

  // Timers run before sockets are read. A request that came just before the idle timeout ran out
  // may lie unread, and closing its socket then would reset it: so one look at the socket first.
  server.on('timeout', (socket) => {
    const { bytesRead } = socket;
    setImmediate(() => {
      if (socket.bytesRead === bytesRead) socket.destroy();
    });
  });

  /** Ends the connections on which nothing is asked or still on its way out. */
  function endIdle(): void {
    const busy = new Set(calls.all.map(({ incoming }) => incoming.socket));
    for (const { socket } of connections.all) if (!busy.has(socket)) socket.destroySoon();
  }

  function refuseOnce(socket: Duplex, error: GatewayError, method: string): void {
    refused.add(socket);
    let busy = false;
    for (const { incoming, outgoing } of calls.all) {
      if (incoming.socket !== socket) continue;
      busy = true;
      outgoing.shouldKeepAlive = false;
    }
    refuseSocket(socket, error, { method, busy });
  }

  server.on('connect', (_incoming: IncomingMessage, socket: Duplex) => {
    const error = new GatewayError(
      'method-not-supported',
      'CONNECT is not supported: Headgate is not a tunnel',
    );
    // Node hands the socket over bare: without this a reset would end the process.
    socket.on('error', () => socket.destroy());
    refuseOnce(socket, error, 'CONNECT');
  });

  server.on('clientError', (cause: Error & { code?: string }, socket: Duplex) => {
    if (refused.has(socket)) return;
    const error = parserProblem(cause);
    // A connection that just went away sent no request, so there is no call to answer or log.
    if (error === undefined || !socket.writable) {
      socket.destroy();
      return;
    }
    // A body that is broken in its middle breaks the call that it belongs to, which has a line.
    for (const call of calls.all) {
      if (call.incoming.socket !== socket || call.incoming.complete) continue;
      call.outgoing.shouldKeepAlive = false;
      // A caller that ends its side in the middle of its body has left.
      if (cause.code === 'HPE_INVALID_EOF_STATE') socket.destroy();
      else call.cutOff(error);
      return;
    }
    refuseOnce(socket, error, '');
  });
  function retire(): void {
    draining = true;
    for (const { outgoing } of calls.all) {
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
    refuseRest() {
      const retry = { retryAfterMs: DRAINING_RETRY_MS };
      for (const call of calls.all) {
        call.cutOff(new GatewayError('draining', DRAINING_DETAIL, retry));
      }
    },
    close() {
      for (const { socket } of accepted.all) socket.destroy();
    },
  };
}

interface Connection extends LinkedListItem<Connection> {
  readonly socket: Socket;
}

/** The connections that are open, from the event on that tells of each. */
function follow(server: Server, event: 'connection' | 'secureConnection'): LinkedList<Connection> {
  const open = new LinkedList<Connection>();
  server.on(event, (socket: Socket) => {
    const connection = { socket, isLinked: false, previous: undefined, next: undefined };
    open.add(connection);
    socket.once('close', () => open.delete(connection));
  });
  return open;
}

/** New connections get the certificate as it is now; those that are open keep theirs. */
function tlsServer(
  options: ServerOptions,
  tls: Tls,
  onRequest: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
): Server {
  const server = createTlsServer({ ...options, ...tls.files() }, onRequest);
  tls.onChange((files) => server.setSecureContext(files));
  return server;
}
