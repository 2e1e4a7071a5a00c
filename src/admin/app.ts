import { getConnInfo } from '@hono/node-server/conninfo';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import type { EffectiveSetting } from '../config/effective.ts';
import type { Ledger, LedgerMode } from '../ledger/ledger.ts';
import type { CredentialName } from '../telemetry/credential-names.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { RecentActivity } from '../telemetry/recent-activity.ts';
import { CALL_FILTERS, readCallFilter } from './call-filter.ts';
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
  readonly credentialName: CredentialName;
  readonly isDraining: () => boolean;
  readonly log: Pick<Log, 'info' | 'error'>;
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
  const { credentialName, isDraining, isMisconfigured, log, replica, version } = dependencies;
  const app = new Hono();
  app.use(auth);
  app.use(async (c, next) => {
    const problem = queryProblem(c);
    if (problem === undefined) return next();
    return c.json({ error: problem }, 400);
  });

  app.on(HEALTH_METHODS, ['/health/live', '/livez'], (c) => c.json({ status: 'live', replica }));
  app.on(HEALTH_METHODS, ['/health/ready', '/readyz'], ready);
  // HAProxy's `option httpchk` without a path.
  app.options('/', ready);
  app.get('/metrics', async (c) => {
    const { contentType, text } = await metrics.expose(c.req.header('accept'));
    return c.body(text, 200, { 'Content-Type': contentType });
  });

  app.get('/buckets', (c) =>
    c.json({
      replica,
      buckets: ledger.snapshot().map((bucket) => bucketJson(bucket, credentialName)),
    }),
  );
  app.get('/buckets/:id', (c) => oneBucket(c, c.req.param('id')));
  app.post('/buckets/:id/pause', (c) => {
    const bucket = c.req.param('id');
    if (ledger.pause(bucket)) log.info({ bucket, address: addressOf(c) }, 'bucket paused');
    return oneBucket(c, bucket);
  });
  app.post('/buckets/:id/resume', (c) => {
    const bucket = c.req.param('id');
    if (ledger.resume(bucket)) log.info({ bucket, address: addressOf(c) }, 'bucket resumed');
    return oneBucket(c, bucket);
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
  app.onError((err, c) => {
    log.error({ path: c.req.path, err }, 'admin failure');
    return c.json({ error: 'an unexpected failure, which the log has as "admin failure"' }, 500);
  });

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
    return c.json({ replica, bucket: bucketJson(bucket, credentialName) });
  }

  return app;
}

/** The query parameters of each resource that has any. */
const QUERY_PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  '/calls': [...CALL_FILTERS, 'limit'],
  '/events': CALL_FILTERS,
};

/** The page is opened from links, and probes and scrapers may add parameters of their own. */
const ANY_QUERY = /^\/(?:$|page\/|health\/|livez$|readyz$|metrics$)/;

/**
 * What is wrong with the names in a query; `undefined` if nothing is. A misspelt filter would
 * otherwise match everything.
 */
function queryProblem({ req }: Context): string | undefined {
  const { path } = req;
  if (ANY_QUERY.test(path)) return undefined;
  const known = QUERY_PARAMETERS[path] ?? [];
  const unknown = Object.keys(req.query()).find((name) => !known.includes(name));
  if (unknown === undefined) return undefined;
  const expected = known.length === 0 ? 'no query parameter' : `one of ${known.join(', ')}`;
  return `${path}: expected ${expected}, got ${JSON.stringify(unknown.slice(0, 100))}`;
}

function readLimit(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return MAX_CALLS;
  const max = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  return max >= 1 && max <= MAX_CALLS ? max : undefined;
}

/** The other end of the connection, for the log. */
function addressOf(c: Context): string {
  return getConnInfo(c).remote.address ?? 'unknown';
}

function pageFile(c: Context, { contentType, content }: PageFile): Response {
  return c.body(content, 200, {
    'Content-Type': contentType,
    'Cache-Control': 'no-cache',
    'Content-Security-Policy': PAGE_POLICY,
    'Referrer-Policy': 'no-referrer',
  });
}
