import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { makeAdminApp } from '../admin/app.ts';
import { makeAdminAuth, type AdminAuthOptions } from '../admin/auth.ts';
import { makeEvents } from '../admin/events.ts';
import { readPageFiles } from '../admin/page-files.ts';
import type { EffectiveSetting } from '../config/config.ts';
import type { Clock } from '../util/clock.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { RecentActivity } from '../telemetry/recent-activity.ts';

export interface AdminOptions {
  readonly auth: AdminAuthOptions;
  readonly clock: Clock;
  readonly ledger: Pick<Ledger, 'snapshot' | 'pause' | 'resume'>;
  readonly ledgerMonitor: LedgerMonitor;
  readonly metrics: Pick<Metrics, 'expose'>;
  readonly activity: RecentActivity;
  readonly settings: () => readonly EffectiveSetting[];
  readonly isDraining: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** The admin listener, not yet listening. */
export interface Admin {
  readonly server: Server;
  /** Ends the event streams that are open; the server itself is closed separately. */
  close(): void;
}

/** Constructs the parts of the admin listener. */
export function makeAdmin(options: AdminOptions): Admin {
  const { auth, ledgerMonitor, ...shared } = options;
  const ledgerMode = () => ledgerMonitor.currentMode;
  const events = makeEvents({ ...shared, ledgerMode });
  const app = makeAdminApp({
    ...shared,
    auth: makeAdminAuth(auth),
    ledgerMode,
    events,
    page: readPageFiles(),
  });
  const answer = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // Health checks in HTTP/1.0 have no Host field, and a URL needs a host. Browsers always send one.
    hostname: 'localhost',
  });
  return {
    server: createServer((incoming, outgoing) => void answer(incoming, outgoing)),
    close: () => events.close(),
  };
}
