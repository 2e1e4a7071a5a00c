import { Hono, type MiddlewareHandler } from 'hono';
import type { BucketSnapshot, Ledger } from '../ledger/ledger.ts';

export interface AdminDependencies {
  /** Goes before every route; see `makeAdminAuth`. */
  readonly auth: MiddlewareHandler;
  readonly ledger: Pick<Ledger, 'snapshot'>;
  readonly isDraining: () => boolean;
  readonly replica: string;
}

/** What operators and orchestrators ask: is it alive, should it get calls, how are the buckets. */
export function makeAdminApp({ auth, ledger, isDraining, replica }: AdminDependencies): Hono {
  const app = new Hono();
  app.use(auth);
  app.get('/health/live', (c) => c.json({ status: 'live', replica }));
  app.get('/health/ready', (c) => {
    const draining = isDraining();
    const status = draining ? 'draining' : 'ready';
    return c.json({ status, ledger: 'memory', replica }, draining ? 503 : 200);
  });
  app.get('/buckets', (c) => c.json({ replica, buckets: ledger.snapshot().map(rounded) }));
  app.notFound((c) => c.json({ error: 'there is /health/live, /health/ready and /buckets' }, 404));
  return app;
}

/** Whole milliseconds: nobody reads more. */
function rounded(bucket: BucketSnapshot): BucketSnapshot {
  const { resetInMs, blockedForMs } = bucket;
  return {
    ...bucket,
    ...(resetInMs === undefined ? {} : { resetInMs: Math.round(resetInMs) }),
    ...(blockedForMs === undefined ? {} : { blockedForMs: Math.round(blockedForMs) }),
  };
}
