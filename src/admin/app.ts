import { Hono, type Context, type MiddlewareHandler } from 'hono';
import type { EffectiveSetting } from '../config/effective.ts';
import type { Ledger, LedgerMode } from '../ledger/ledger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { RecentActivity } from '../telemetry/recent-activity.ts';
import { readCallFilter } from './call-filter.ts';
import { MAX_WATCHERS, type Events } from './events.ts';
import { bucketJson, callJson } from './json.ts';
import { openApi } from './openapi.ts';
import { PAGE_POLICY, type PageFile, type PageFiles } from './page-files.ts';

export interface AdminDependencies {
  /** Runs before every route; see `makeAdminAuth`. */
  readonly auth: MiddlewareHandler;
  readonly ledger: Pick<Ledger, 'snapshot' | 'pause' | 'resume'>;
  readonly ledgerMode: () => LedgerMode;
  readonly metrics: Pick<Metrics, 'expose'>;
  readonly activity: RecentActivity;
  readonly events: Events;
  readonly page: PageFiles;
  /** The settings in force, secrets masked. */
  readonly settings: () => readonly EffectiveSetting[];
  readonly isDraining: () => boolean;
  /** Whether Redis has always refused this replica, which must then receive no calls. */
  readonly isMisconfigured: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** HAProxy's `option httpchk /health/ready` sends OPTIONS. */
const HEALTH_METHODS = ['GET', 'OPTIONS'];
/** The most calls in one response of `/calls`: as many as are kept. */
const MAX_CALLS = 1000;

/**
 * The admin API of one replica, for operators, orchestrators and scrapers. docs/admin-api.md explains
 * it and `/openapi.json` describes it. A test compares the routes with that description.
 */
export function makeAdminApp(dependencies: AdminDependencies): Hono {
  const { auth, ledger, ledgerMode, metrics, activity, events, page, settings } = dependencies;
  const { isDraining, isMisconfigured, replica, version } = dependencies;
  const app = new Hono();
  app.use(auth);

  app.on(HEALTH_METHODS, '/health/live', (c) => c.json({ status: 'live', replica }));
  app.on(HEALTH_METHODS, '/health/ready', ready);
  // HAProxy's `option httpchk` without a path.
  app.options('/', ready);
  app.get('/metrics', async (c) => {
    const { contentType, text } = await metrics.expose(c.req.header('accept'));
    return c.body(text, 200, { 'Content-Type': contentType });
  });

  app.get('/buckets', (c) => c.json({ replica, buckets: ledger.snapshot().map(bucketJson) }));
  app.get('/buckets/:id', (c) => oneBucket(c, c.req.param('id')));
  app.post('/buckets/:id/pause', (c) => {
    ledger.pause(c.req.param('id'));
    return oneBucket(c, c.req.param('id'));
  });
  app.post('/buckets/:id/resume', (c) => {
    ledger.resume(c.req.param('id'));
    return oneBucket(c, c.req.param('id'));
  });

  app.get('/calls', (c) => {
    const filter = readCallFilter((name) => c.req.query(name));
    if (filter.kind === 'bad') return c.json({ error: filter.problem }, 400);
    const max = readLimit(c.req.query('limit'));
    if (max === undefined) {
      return c.json({ error: `limit: expected a number from 1 to ${MAX_CALLS}` }, 400);
    }
    const { calls, skipped } = activity.since(0, max, filter.matches);
    return c.json({ replica, calls: calls.map(callJson), skipped });
  });
  app.get('/events', (c) => {
    const filter = readCallFilter((name) => c.req.query(name));
    if (filter.kind === 'bad') return c.json({ error: filter.problem }, 400);
    const headers = {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      // Makes nginx pass the stream on without a buffer.
      'X-Accel-Buffering': 'no',
    };
    // A HEAD request has no body, so no stream is opened for it.
    if (c.req.method === 'HEAD') return c.body(null, 200, headers);
    const stream = events.watch(filter.matches);
    if (stream !== undefined) return c.body(stream, 200, headers);
    const error = `expected at most ${MAX_WATCHERS} watchers, and all are connected; try again later`;
    return c.json({ error }, 503, { 'Retry-After': '10' });
  });

  app.get('/config', (c) => c.json({ replica, version, settings: settings() }));
  app.get('/openapi.json', (c) => c.json(openApi(version)));
  app.get('/', (c) => pageFile(c, page.index));
  app.get('/page/:file', (c) => {
    const file = page.others.get(c.req.param('file'));
    return file === undefined ? c.notFound() : pageFile(c, file);
  });
  app.notFound((c) =>
    c.json({ error: 'no such resource; /openapi.json lists the resources' }, 404),
  );

  function ready(c: Context): Response {
    const isReady = !isDraining() && !isMisconfigured();
    const status = isReady ? 'ready' : isDraining() ? 'draining' : 'misconfigured';
    return c.json({ status, ledger: ledgerMode(), replica }, isReady ? 200 : 503);
  }

  function oneBucket(c: Context, id: string): Response {
    const bucket = ledger.snapshot().find((each) => each.id === id);
    if (bucket === undefined) {
      return c.json({ error: `no bucket ${JSON.stringify(id)}; GET /buckets lists them` }, 404);
    }
    return c.json({ replica, bucket: bucketJson(bucket) });
  }

  return app;
}

function readLimit(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return MAX_CALLS;
  const max = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  return max >= 1 && max <= MAX_CALLS ? max : undefined;
}

function pageFile(c: Context, { contentType, content }: PageFile): Response {
  return c.body(content, 200, {
    'Content-Type': contentType,
    'Cache-Control': 'no-cache',
    'Content-Security-Policy': PAGE_POLICY,
    'Referrer-Policy': 'no-referrer',
  });
}
