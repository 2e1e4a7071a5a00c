import type { Figure } from '../support/figures.ts';
import { withLineUp } from '../support/line-up.ts';
import { openLoop } from '../support/open-loop.ts';
import { startHeadgate, startNginxProxy, startUndiciProxy } from '../support/servers.ts';
import { median, quantile } from '../support/statistics.ts';

/** A rate that all of them, and the generator, carry with ease. */
const PER_SECOND = 1000;
const HEADERS = { authorization: 'token bench', accept: 'application/json' };

export interface OpenOptions {
  readonly rounds: number;
  readonly seconds: number;
}

/** What callers wait for who come at their own pace, and far below what a server could carry. */
export async function measureOpen({ rounds, seconds }: OpenOptions): Promise<Figure[]> {
  return withLineUp(async ({ folder, upstream, redisUrl, up }) => {
    const servers = [
      upstream,
      await up(startNginxProxy(folder, upstream.url)),
      await up(startUndiciProxy(upstream.url)),
      await up(startHeadgate('memory', upstream.url)),
      await up(startHeadgate('redis', upstream.url, { HEADGATE_REDIS_URL: redisUrl })),
    ];
    const seen = new Map<string, { p50: number[]; p99: number[] }>(
      servers.map(({ name }) => [name, { p50: [], p99: [] }]),
    );
    // The first round warms up what runs here and there, and does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const { name, url } of servers) {
        const load = { url: `${url}/domains`, headers: HEADERS, perSecond: PER_SECOND, seconds };
        const { tookMs, errors } = await openLoop(load);
        if (errors > 0) throw new Error(`${name}: ${errors} of its answers were errors`);
        if (round === 0) continue;
        seen.get(name)?.p50.push(quantile(tookMs, 0.5));
        seen.get(name)?.p99.push(quantile(tookMs, 0.99));
      }
    }
    return figuresOf(seen);
  });
}

function figuresOf(seen: ReadonlyMap<string, { p50: number[]; p99: number[] }>): Figure[] {
  const of = (name: string, which: 'p50' | 'p99'): number => median(seen.get(name)?.[which] ?? []);
  const proxies = [...seen.keys()].filter((name) => name !== 'upstream');
  return (['p50', 'p99'] as const).flatMap((which) =>
    proxies.map((name) => ({
      what: `${name}: ${which} added at ${PER_SECOND} calls a second, open loop`,
      value: of(name, which) - of('upstream', which),
      unit: ' ms',
    })),
  );
}
