import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { makeAdminApp } from '../admin/app.ts';
import { makeAdminAuth, type AdminAuthOptions } from '../admin/auth.ts';
import { makeEvents } from '../admin/events.ts';
import { readPageFiles } from '../admin/page-files.ts';
import type { Shown } from '../config/config.ts';
import type { Clock } from '../util/clock.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Feed } from '../telemetry/recent-activity.ts';
import type { LedgerWatch } from '../telemetry/ledger-monitor.ts';
import type { Metrics } from '../telemetry/metrics.ts';

export interface AdminOptions {
  readonly auth: AdminAuthOptions;
  readonly clock: Clock;
  readonly ledger: Pick<Ledger, 'snapshot' | 'pause' | 'resume'>;
  readonly ledgerWatch: LedgerWatch;
  readonly metrics: Pick<Metrics, 'expose'>;
  readonly feed: Feed;
  readonly settings: () => readonly Shown[];
  readonly isDraining: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** The server that operators talk to, not yet listening, and how to end what it has open. */
export interface Admin {
  readonly server: Server;
  close(): void;
}

/** Constructs the parts of the admin listener. */
export function makeAdmin(options: AdminOptions): Admin {
  const { auth, ledgerWatch, ...shared } = options;
  const ledgerMode = () => ledgerWatch.current;
  const events = makeEvents({ ...shared, ledgerMode });
  const app = makeAdminApp({
    ...shared,
    auth: makeAdminAuth(auth),
    ledgerMode,
    events,
    page: readPageFiles(),
  });
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  return {
    server: createServer((incoming, outgoing) => void answer(incoming, outgoing)),
    close: () => events.close(),
  };
}
