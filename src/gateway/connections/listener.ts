import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import { Server as NetServer } from 'node:net';
import type { Clock } from '../../util/clock.ts';
import { isIdempotent } from '../../http/methods.ts';
import { LinkedList } from '../../util/linked-list.ts';
import { DRAINING_RETRY_MS } from '../../ledger/ledger.ts';
import type { Log } from '../../telemetry/log.ts';
import type { CallRecorder } from '../../telemetry/call-line.ts';
import type { RequestMemory } from '../../upstream/request-memory.ts';
import type { CallLimits } from '../identify/call-limits.ts';
import { Call } from '../call.ts';
import {
  followConnections,
  type ConnectionLimits,
  type Connections,
  type FollowedServer,
} from './connections.ts';
import type { Gateway } from '../routes.ts';
import { DRAINING_DETAIL, GatewayError, type ShedStatus } from '../problem.ts';
import { allowHalfClose, type Carrier } from './half-close.ts';
import type { Interception } from '../proxy/interception.ts';
import { makeLingerFor } from './lingering-close.ts';
import { makePipelining } from './pipelining.ts';
import { MAX_HEADERS } from '../identify/request-checks.ts';
import type { Peers } from './peers.ts';
import { acceptProxyProtocol } from './proxy-protocol.ts';
import { refuseNonRequests } from './socket-refusals.ts';
import { makeProxyServer, makeServer, type Tls } from './tls.ts';
import type { IsTrustedProxy } from '../identify/trusted-proxies.ts';

export interface ListenerDependencies extends ConnectionLimits {
  readonly gateway: Gateway;
  readonly recorder: CallRecorder;
  readonly log: Pick<Log, 'warn'>;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly shedStatus: ShedStatus;
  /** How long a connection may be idle. */
  readonly keepAliveTimeoutMs: number;
  /** The certificate for TLS; `undefined`: the listener speaks cleartext. */
  readonly tls: Tls | undefined;
  readonly memory: RequestMemory;
  readonly callLimits: CallLimits;
  readonly peers: Peers;
  readonly isTrustedProxy: IsTrustedProxy;
  /** The proxy for clients with a fixed address; `undefined`: there is none. */
  readonly proxy?: ProxyDependencies | undefined;
}

export interface ProxyDependencies {
  readonly interception: Pick<Interception, 'connect'>;
  /** Serves the requests of the proxy. */
  readonly gateway: Gateway;
}

type StartCall = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** The server that callers connect to. */
export interface Listener {
  readonly server: Server;
  /** The server of the proxy. */
  readonly proxyServer: Server | undefined;
  /** Calls that have not ended. */
  readonly inFlight: number;
  readonly connections: Pick<Connections, 'open' | 'refused'>;
  /** From now on every answer closes its connection. Calls are still accepted. */
  retire(): void;
  /** Accepts no more connections and ends the idle ones; resolves when the last call has ended. */
  drain(): Promise<void>;
  /** Refuses each call that has no answer yet, wherever it is. */
  refuseRest(): void;
  /** Breaks every connection, also those without a request. */
  close(): void;
}

/** The request line and all headers, in bytes; more is a 431. */
const MAX_HEADER_BYTES = 64 * 1024;
/** From the first byte of a request to the end of its headers. */
const HEADERS_TIMEOUT_MS = 60_000;
/** TCP keep-alive detects a caller whose host has vanished after this long and some seconds. */
const KEEP_ALIVE_PROBE_MS = 15_000;
/** How long the rest of a body is read after its call was answered. */
const MAX_DISCARD_MS = 30_000;

/**
 * Makes the server that callers connect to. It is Node's own server: a framework that refused a
 * request before the pipeline would leave no log line (docs/decisions/0005). The routes to the APIs
 * come behind it (docs/decisions/0044).
 *
 * The server has no listener for `upgrade`, so Node handles a request that offers an upgrade as an
 * ordinary one (RFC 9110 §7.8). Java's default client offers h2c with every request. The pipeline
 * refuses WebSockets.
 */
export function makeListener(dependencies: ListenerDependencies): Listener {
  const { clock, newId, keepAliveTimeoutMs, tls, callLimits, proxy } = dependencies;
  const calls = new LinkedList<Call>();
  let draining = false;
  let drained: Promise<void> | undefined;
  let onEmpty: (() => void) | undefined;

  const options: ServerOptions = {
    keepAliveTimeout: keepAliveTimeoutMs,
    maxHeaderSize: MAX_HEADER_BYTES,
    // An upload may wait in the queue and may be slow: the body's own idle timeout ends it.
    requestTimeout: 0,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // The pipeline refuses a missing Host: Node's refusal would leave no log line.
    requireHostHeader: false,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
  };
  const pipelining = makePipelining(dependencies);
  const lingerFor = makeLingerFor();
  const server = makeServer(options, tls);
  const carriedBy = tls === undefined ? 'connection' : 'tls';
  const followed: FollowedServer[] = [{ server, carriedBy }];
  const proxyServer = proxy === undefined ? undefined : makeProxyServer(options);
  if (proxyServer !== undefined) followed.push({ server: proxyServer, carriedBy: 'either' });
  const { noteArrival, noteEnd, leave, isIdle } = allowHalfClose(
    followed.flatMap(carriersOf),
    clock,
  );
  serveCalls(server, dependencies.gateway);
  if (proxy !== undefined && proxyServer !== undefined) serveCalls(proxyServer, proxy.gateway);
  const connections = followConnections(followed, { ...dependencies, isIdle });
  refuseNonRequests(server, calls, pipelining, dependencies);
  if (proxy !== undefined && proxyServer !== undefined) {
    refuseNonRequests(proxyServer, calls, pipelining, dependencies, (incoming, _, head, refuse) => {
      const { socket } = incoming;
      proxy.interception.connect(incoming, head, {
        isFirst: isIdle(socket),
        refuse: (error, request) => refuse(socket, error, { method: 'CONNECT', ...request }),
        handOver(to) {
          leave(socket);
          connections.handOver(socket, to);
        },
        carry: (secured) => proxyServer.emit('secureConnection', secured),
      });
    });
  }

  /** Makes calls of the requests of a server. */
  function serveCalls(of: Server, gateway: Gateway): void {
    // The listeners before it get a connection behind the header, in the same order as without one.
    acceptProxyProtocol(of, dependencies);
    // One more than is accepted, by which the pipeline sees that there are too many.
    of.maxHeadersCount = MAX_HEADERS + 1;
    // The gateway handles its own failures, so its promise needs no handler.
    const start: StartCall = (incoming, outgoing) => {
      void take(callFor(incoming, outgoing), gateway);
    };
    const startAfterContinue: StartCall = (incoming, outgoing) => {
      void take(callFor(incoming, outgoing, true), gateway);
    };
    const refuseExpectation: StartCall = (incoming, outgoing) => {
      const call = callFor(incoming, outgoing);
      const got = JSON.stringify(incoming.headers.expect ?? '');
      call.cutOff(
        new GatewayError('expectation-failed', `Expect: expected 100-continue, got ${got}`),
      );
      void take(call, gateway);
    };
    const onRequest: StartCall = (incoming, outgoing) => inTurn(incoming, outgoing, start);
    of.on('request', onRequest);
    const onContinue: StartCall = (incoming, outgoing) =>
      inTurn(incoming, outgoing, startAfterContinue);
    of.on('checkContinue', onContinue);
    const onExpectation: StartCall = (incoming, outgoing) =>
      inTurn(incoming, outgoing, refuseExpectation);
    of.on('checkExpectation', onExpectation);
  }

  /** Starts a request, once all requests before it on its connection have their answers. */
  function inTurn(incoming: IncomingMessage, outgoing: ServerResponse, run: StartCall): void {
    noteArrival(incoming, outgoing);
    pipelining.inTurn(incoming, outgoing, () => run(incoming, outgoing));
  }

  function callFor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    expectsContinue = false,
  ): Call {
    return new Call(newId(), incoming, outgoing, clock.now(), expectsContinue);
  }

  async function take(call: Call, gateway: Gateway): Promise<void> {
    calls.add(call);
    const tooMany = callLimits.problemOf(calls.size);
    if (tooMany !== undefined) call.cutOff(tooMany);
    lingerFor(call.incoming);
    const { outgoing } = call;
    if (draining) outgoing.shouldKeepAlive = false;
    await gateway(call);
    if (!call.incoming.complete) discardRest(call.incoming);
    // A call ends when its last byte has left, and after that the next request of its connection
    // has started. An earlier end could complete a drain, which would cut off the answer.
    if (outgoing.destroyed) remove(call);
    else outgoing.on('close', () => remove(call));
  }

  /**
   * Reads and discards the rest of a body whose call was answered early, for a limited time. The
   * rest precedes the next request on the connection, and a connection that closes with unread
   * bytes may lose the answer.
   */
  function discardRest(incoming: IncomingMessage): void {
    const { socket } = incoming;
    const timer = clock.after(MAX_DISCARD_MS, () => socket.destroy());
    // Node does not report the end of the socket to a request that was answered.
    const stop = (): void => {
      timer.cancel();
      socket.off('close', stop);
    };
    socket.once('close', stop);
    incoming.once('end', stop);
    incoming.unpipe();
    incoming.resume();
  }

  function remove(call: Call): void {
    calls.delete(call);
    noteEnd(call.incoming, call.outgoing);
    if (call.countedFor !== undefined) callLimits.leave(call.countedFor);
    if (calls.size === 0) onEmpty?.();
  }

  function retire(): void {
    draining = true;
    for (const { outgoing } of calls.all) {
      if (!outgoing.headersSent) outgoing.shouldKeepAlive = false;
    }
  }

  return {
    server,
    proxyServer,
    connections,
    get inFlight() {
      return calls.size;
    },
    retire,
    drain() {
      retire();
      // http.Server's own close destroys each socket whose answer was handed to it, although the
      // last bytes may not have left. So stop listening, and end the connections without a call.
      for (const { server: each } of followed) NetServer.prototype.close.call(each);
      connections.endIdle(new Set(calls.all.map(({ incoming }) => incoming.socket)));
      drained ??= new Promise((resolve) => {
        if (calls.size === 0) resolve();
        else onEmpty = resolve;
      });
      return drained;
    },
    refuseRest() {
      for (const call of calls.all) call.cutOff(lastRefusal(call));
    },
    close() {
      connections.destroyAll();
    },
  };
}

/** The events by which a server gets sockets that carry requests. */
function carriersOf({ server, carriedBy }: FollowedServer): Carrier[] {
  const carriers: Carrier[] = [];
  if (carriedBy !== 'tls') carriers.push({ server, event: 'connection' });
  if (carriedBy !== 'connection') carriers.push({ server, event: 'secureConnection' });
  return carriers;
}

/** Why a call is refused that has no answer when the gateway ends. */
function lastRefusal({ isSending, incoming }: Call): GatewayError {
  if (isSending && !isIdempotent(incoming.method ?? '')) {
    return new GatewayError('drain-timeout', CUT_OFF_DETAIL);
  }
  return new GatewayError('draining', DRAINING_DETAIL, { retryAfterMs: DRAINING_RETRY_MS });
}

const CUT_OFF_DETAIL =
  'this replica shut down before the API answered; the API may have executed the request';
