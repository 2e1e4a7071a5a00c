import { startAzion } from '../../test/support/azion.ts';
import type { Semantics } from '../../test/support/limiter.ts';
import { utilisationOf } from '../../test/support/utilisation.ts';
import { makeClient } from '../support/headgate-client.ts';
import type { Figure } from '../support/figures.ts';
import { scratch } from '../support/processes.ts';
import { startHeadgate, startRedis, type Server } from '../support/servers.ts';

const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
const REPLICAS = 3;
const LIMIT = 200;
const PERIOD_MS = 60_000;
/** Callers at each replica, each asking again as soon as it is answered. */
const CALLERS = 48;
const TOKEN = { authorization: 'token bench' };

/** Three replicas, one budget: how much of it is used, and what is used beyond it. */
export async function measureReplicas({ windows }: { windows: number }): Promise<Figure[]> {
  const all = SEMANTICS.map((semantics) => saturate(semantics, windows));
  return (await Promise.all(all)).flat();
}

async function saturate(semantics: Semantics, windows: number): Promise<Figure[]> {
  const folder = scratch();
  const limits = { read: { limit: LIMIT, periodMs: PERIOD_MS } };
  const api = await startAzion({ semantics, limits });
  const open: Server[] = [];
  try {
    const redis = await startRedis(folder.path);
    open.push(redis);
    const env = {
      HEADGATE_REDIS_URL: redis.url.replace('http:', 'redis:'),
      HEADGATE_MAX_WAIT: '10m',
    };
    const replicas: Server[] = [];
    for (let i = 0; i < REPLICAS; i++) {
      const replica = await startHeadgate(`replica ${i}`, api.url, env);
      open.push(replica);
      replicas.push(replica);
    }
    const client = makeClient();
    const end = new AbortController();
    let errors = 0;
    const ask = async (url: string): Promise<void> => {
      while (!end.signal.aborted) {
        const answered = await client.call(`${url}/domains`, TOKEN).catch(() => undefined);
        if (!end.signal.aborted && answered?.status !== 200) errors++;
      }
    };
    const asking = replicas.flatMap(({ url }) => Array.from({ length: CALLERS }, () => ask(url)));
    await new Promise((resolve) => {
      setTimeout(resolve, windows * PERIOD_MS);
    });
    end.abort();
    const arrivals = api.seen.filter(({ counted }) => counted).map(({ atMs }) => atMs);
    client.close();
    await Promise.all(asking);
    const told = `${REPLICAS} replicas, ${semantics}, ${windows} windows`;
    return [
      {
        what: `${told}: utilisation`,
        value: utilisationOf(halvesOf(arrivals), PERIOD_MS),
        unit: '',
        goal: { at: 'least', bound: 0.985 },
      },
      {
        what: `${told}: 429s of the API`,
        value: api.throttled,
        unit: '',
        goal: { at: 'most', bound: 0 },
      },
      {
        what: `${told}: errors of callers`,
        value: errors,
        unit: '',
        goal: { at: 'most', bound: 0 },
      },
    ];
  } finally {
    for (const server of open.toReversed()) await server.stop();
    await api.close();
    folder.remove();
  }
}

/** When half of each further budget had been served. */
function halvesOf(arrivals: readonly number[]): number[] {
  return arrivals.filter((_, i) => i % LIMIT === LIMIT / 2 - 1);
}
