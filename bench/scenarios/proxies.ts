import type { Figure } from '../support/figures.ts';
import { pause } from '../support/processes.ts';
import {
  startHaproxy,
  startHeadgate,
  startHonoProxy,
  startNginxProxy,
  startUndiciProxy,
  type Server,
} from '../support/servers.ts';
import { withLineUp } from '../support/line-up.ts';
import { roundTripMs } from '../support/round-trip.ts';
import { median } from '../support/statistics.ts';
import { wrk } from '../support/wrk.ts';

/** What one server showed in one round. */
interface Round {
  readonly cpuUsPerRequest: number;
  readonly perSecond: number;
  readonly p50At1Ms: number;
  readonly p99At1Ms: number;
  readonly p50At64Ms: number;
  readonly p99At64Ms: number;
  readonly rssMiB: number;
}

export interface ProxiesOptions {
  readonly rounds: number;
  readonly seconds: number;
}

/**
 * The cost of standing in between: Headgate against what else could stand there, in turns, so that
 * whatever disturbs the machine disturbs all. Each figure is the median over the rounds.
 */
export async function measureProxies({ rounds, seconds }: ProxiesOptions): Promise<Figure[]> {
  return withLineUp(async ({ folder, upstream, redisUrl, up }) => {
    const servers = [
      await up(startNginxProxy(folder, upstream.url)),
      await up(startHaproxy(folder, upstream.url)),
      await up(startHonoProxy(upstream.url)),
      await up(startUndiciProxy(upstream.url)),
      await up(startHeadgate('memory', upstream.url)),
      await up(startHeadgate('redis', upstream.url, { HEADGATE_REDIS_URL: redisUrl })),
    ];
    const trips: number[] = [];
    const direct: Round[] = [];
    const seen = new Map<string, Round[]>(servers.map(({ name }) => [name, []]));
    for (const { url } of servers) await wrk({ url, connections: 64, seconds: 1 });
    for (let round = 0; round < rounds; round++) {
      direct.push(await measure(upstream, seconds));
      trips.push(await roundTripMs(redisUrl));
      for (const server of servers) seen.get(server.name)?.push(await measure(server, seconds));
    }
    return figuresOf(direct, seen, median(trips));
  });
}

async function measure(server: Server, seconds: number): Promise<Round> {
  const url = `${server.url}/domains`;
  const one = await wrk({ url, connections: 1, seconds });
  const before = server.cpuMs();
  const many = await wrk({ url, connections: 64, seconds });
  // What was begun when wrk hung up is finished, and its processor time counted.
  await pause(50);
  const cpuMs = server.cpuMs() - before;
  const errors = one.errors + many.errors;
  if (errors > 0) throw new Error(`${server.name}: ${errors} of its answers were errors`);
  return {
    cpuUsPerRequest: (cpuMs * 1000) / many.requests,
    perSecond: many.perSecond,
    p50At1Ms: one.p50Ms,
    p99At1Ms: one.p99Ms,
    p50At64Ms: many.p50Ms,
    p99At64Ms: many.p99Ms,
    rssMiB: server.rssBytes() / 1024 ** 2,
  };
}

function figuresOf(
  direct: readonly Round[],
  seen: ReadonlyMap<string, readonly Round[]>,
  tripMs: number,
): Figure[] {
  const of = (name: string, what: keyof Round): number =>
    median((seen.get(name) ?? []).map((round) => round[what]));
  const added = (name: string, what: 'p50At1Ms' | 'p99At1Ms' | 'p50At64Ms' | 'p99At64Ms'): number =>
    of(name, what) - median(direct.map((round) => round[what]));
  const cpu = (name: string): number => of(name, 'cpuUsPerRequest');
  const ratio = (what: string, value: number, bound?: number): Figure => ({
    what,
    value,
    unit: '×',
    ...(bound === undefined ? {} : { goal: { at: 'most', bound } }),
  });
  const figures: Figure[] = [
    ratio('CPU per request: memory / nginx', cpu('memory') / cpu('nginx'), 6),
    ratio('CPU per request: memory / hono/proxy', cpu('memory') / cpu('hono/proxy'), 0.3),
    ratio('CPU per request: memory / undici dispatch', cpu('memory') / cpu('undici dispatch'), 1.5),
    ratio(
      'CPU per request: undici dispatch / hono/proxy',
      cpu('undici dispatch') / cpu('hono/proxy'),
    ),
    ratio('CPU per request: memory / haproxy', cpu('memory') / cpu('haproxy')),
    ratio('CPU per request: redis / memory', cpu('redis') / cpu('memory'), 1.2),
    {
      what: 'p50 at 1: redis over memory, less one round trip',
      value: of('redis', 'p50At1Ms') - of('memory', 'p50At1Ms') - tripMs,
      unit: ' ms',
      goal: { at: 'most', bound: 0.15 },
    },
    { what: 'one round trip to Redis', value: tripMs, unit: ' ms' },
    ratio(
      'p50 added at 1: memory / nginx',
      added('memory', 'p50At1Ms') / added('nginx', 'p50At1Ms'),
      2.5,
    ),
    ratio(
      'p50 added at 1: undici dispatch / nginx',
      added('undici dispatch', 'p50At1Ms') / added('nginx', 'p50At1Ms'),
    ),
    ratio(
      'throughput at 64: memory / undici dispatch',
      of('memory', 'perSecond') / of('undici dispatch', 'perSecond'),
    ),
    ratio(
      'throughput at 64: memory / hono/proxy',
      of('memory', 'perSecond') / of('hono/proxy', 'perSecond'),
    ),
    ratio(
      'RSS: memory / undici dispatch',
      of('memory', 'rssMiB') / of('undici dispatch', 'rssMiB'),
    ),
  ];
  for (const name of seen.keys()) {
    const tell = (what: string, value: number, unit: string): Figure => ({
      what: `${name}: ${what}`,
      value,
      unit,
    });
    figures.push(
      tell('CPU per request', cpu(name), ' µs'),
      tell('throughput at 64', of(name, 'perSecond'), '/s'),
      tell('p50 added at 1', added(name, 'p50At1Ms'), ' ms'),
      tell('p99 added at 1', added(name, 'p99At1Ms'), ' ms'),
      tell('p50 added at 64', added(name, 'p50At64Ms'), ' ms'),
      tell('p99 added at 64', added(name, 'p99At64Ms'), ' ms'),
      tell('RSS', of(name, 'rssMiB'), ' MiB'),
    );
  }
  return figures;
}
