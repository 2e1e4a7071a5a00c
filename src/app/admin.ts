import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { makeAdminApp } from '../admin/app.ts';
import { makeAdminAuth, type AdminAuthOptions } from '../admin/auth.ts';
import { makeEvents } from '../admin/events.ts';
import { readPageFiles } from '../admin/page-files.ts';
import type { EffectiveSetting } from '../config/effective.ts';
import { makePipelining } from '../gateway/connections/pipelining.ts';
import { makeServer, type Tls } from '../gateway/connections/tls.ts';
import type { Clock } from '../util/clock.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { CredentialName } from '../telemetry/credential-names.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { RecentActivity } from '../telemetry/recent-activity.ts';
import type { RequestMemory } from '../upstream/request-memory.ts';
import { MAX_ADMIN_CONNECTIONS } from './open-files.ts';

export interface AdminOptions {
  readonly auth: Omit<AdminAuthOptions, 'tls'>;
  /** The certificate for TLS; `undefined`: the listener speaks cleartext. */
  readonly tls: Tls | undefined;
  readonly clock: Clock;
  /** Holds the requests that clients pipeline. */
  readonly memory: RequestMemory;
  readonly ledger: Pick<Ledger, 'snapshot' | 'pause' | 'resume'>;
  readonly ledgerMonitor: LedgerMonitor;
  readonly metrics: Pick<Metrics, 'expose'>;
  readonly activity: RecentActivity;
  readonly settings: () => readonly EffectiveSetting[];
  readonly credentialName: CredentialName;
  readonly isDraining: () => boolean;
  readonly isObserving: () => boolean;
  readonly log: Pick<Log, 'info' | 'error'>;
  /** Whether Redis has always refused this replica, which must then receive no calls. */
  readonly isMisconfigured: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** The admin listener, not yet listening. */
export interface Admin {
  readonly server: Server;
  /** Ends the event streams and closes all connections. Resolves when none is left. */
  close(): Promise<void>;
}

/** Constructs the parts of the admin listener. */
export function makeAdmin(options: AdminOptions): Admin {
  const { auth, tls, ledgerMonitor, ...shared } = options;
  const ledgerMode = () => ledgerMonitor.currentMode;
  const canPause = () => auth.token() !== undefined;
  const events = makeEvents({ ...shared, ledgerMode, canPause });
  const app = makeAdminApp({
    ...shared,
    auth: makeAdminAuth({ ...auth, tls: tls !== undefined }),
    ledgerMode,
    events,
    page: readPageFiles(),
  });
  const answer = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // Health checks in HTTP/1.0 have no Host field, and a URL needs a host. Browsers always send one.
    hostname: 'localhost',
  });
  // Anyone may read `/metrics`, whose answers to a thousand pipelined requests would fill the memory.
  const pipelining = makePipelining(options);
  const server = makeServer({}, tls, (incoming, outgoing) => {
    pipelining.inTurn(incoming, outgoing, () => void answer(incoming, outgoing));
  });
  server.on('clientError', refuseNonRequest);
  server.maxConnections = MAX_ADMIN_CONNECTIONS;
  // With TLS, Node's own list of connections lacks those that are still in their handshake.
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return {
    server,
    close() {
      events.close();
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}

/** Refuses bytes that are not a request. Node's own refusal would not be JSON. */
function refuseNonRequest({ code = '' }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = PARSER_STATUSES.get(code) ?? '400 Bad Request';
  const body = JSON.stringify({
    error: `expected a valid HTTP/1.1 request, got another (${code})`,
  });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const PARSER_STATUSES = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
]);
