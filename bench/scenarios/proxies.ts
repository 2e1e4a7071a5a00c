import type { Figure } from '../support/figures.ts';
import { pause } from '../support/processes.ts';
import {
  startHaproxy,
  startHeadgate,
  startHonoProxy,
  startNginxProxy,
  startRelay,
  startUndiciProxy,
  type Server,
} from '../support/servers.ts';
import { withLineUp } from '../support/line-up.ts';
import { roundTripMs } from '../support/round-trip.ts';
import { median, sum } from '../support/statistics.ts';
import { wrkAtAll, type Load } from '../support/wrk.ts';

/** What stands in between: one process, or several that share the load and the budget. */
interface Contender {
  readonly name: string;
  readonly servers: readonly Server[];
}

/** What a contender showed in one round. */
interface Round {
  readonly cpuUsPerRequest: number;
  readonly perSecond: number;
  readonly p50At1Ms: number;
  readonly p99At1Ms: number;
  readonly p50At64Ms: number;
  readonly p99At64Ms: number;
  /** With twice as many callers as Headgate has sockets to the API. */
  readonly cpuUsAt256: number;
  readonly perSecondAt256: number;
  readonly p99At256Ms: number;
  /** Of each of its processes. */
  readonly rssMiB: number;
}

const FLEET = 'redis, 3 replicas';
/** Three that share nothing: what three processes cost on this machine whatever they do. */
const SEPARATE = 'memory, 3 processes';
const COUNTING = 'undici dispatch and INCR';

export interface ProxiesOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Under load before each round: who idled while it was others' turn has let go of much. */
  readonly warmUpSeconds: number;
  /** Without the relay, the three replicas and what they are held against: takes half the time. */
  readonly few: boolean;
}

/**
 * The cost of standing in between: Headgate against what else could stand there, in turns, so that
 * whatever disturbs the machine disturbs all. Each figure is the median over the rounds.
 */
export async function measureProxies(options: ProxiesOptions): Promise<Figure[]> {
  const { rounds, few } = options;
  return withLineUp(async ({ folder, upstream, redisUrl, up }) => {
    const shared = (prefix: string): Promise<Server> =>
      up(
        startHeadgate('redis', upstream.url, {
          HEADGATE_REDIS_URL: redisUrl,
          HEADGATE_REDIS_PREFIX: prefix,
        }),
      );
    const alone = [
      await up(startNginxProxy(folder, upstream.url)),
      await up(startHaproxy(folder, upstream.url)),
      await up(startHonoProxy(upstream.url)),
      await up(startUndiciProxy(upstream.url)),
      await up(startHeadgate('memory', upstream.url)),
      await shared('one'),
    ];
    const contenders: Contender[] = alone.map((server) => ({
      name: server.name,
      servers: [server],
    }));
    if (!few) {
      const separate = (): Promise<Server> => up(startHeadgate('memory', upstream.url));
      contenders.push(
        { name: SEPARATE, servers: [await separate(), await separate(), await separate()] },
        {
          name: FLEET,
          servers: [await shared('three'), await shared('three'), await shared('three')],
        },
      );
      const counting = await up(startUndiciProxy(upstream.url, redisUrl));
      const relay = await up(startRelay(upstream.url));
      for (const server of [counting, relay]) {
        contenders.push({ name: server.name, servers: [server] });
      }
    }
    const api: Contender = { name: 'upstream', servers: [upstream] };
    const trips: number[] = [];
    const direct: Round[] = [];
    const seen = new Map<string, Round[]>(contenders.map(({ name }) => [name, []]));
    // Each process by as much, where several share the load.
    for (const contender of contenders) await put(contender, 64, contender.servers.length);
    for (let round = 0; round < rounds; round++) {
      direct.push(await measure(api, options));
      trips.push(await roundTripMs(redisUrl));
      for (const contender of contenders) {
        seen.get(contender.name)?.push(await measure(contender, options));
      }
    }
    return figuresOf(direct, seen, median(trips));
  });
}

async function measure(
  contender: Contender,
  { seconds, warmUpSeconds }: ProxiesOptions,
): Promise<Round> {
  if (warmUpSeconds > 0) await put(contender, 64, warmUpSeconds);
  // The largest first: code that is new is compiled by then.
  const crowd = await put(contender, 256, Math.ceil(seconds / 2));
  const many = await put(contender, 64, seconds);
  const one = await put(contender, 1, seconds);
  const { servers } = contender;
  return {
    cpuUsPerRequest: many.cpuUs,
    perSecond: many.perSecond,
    p50At1Ms: one.p50Ms,
    p99At1Ms: one.p99Ms,
    p50At64Ms: many.p50Ms,
    p99At64Ms: many.p99Ms,
    cpuUsAt256: crowd.cpuUs,
    perSecondAt256: crowd.perSecond,
    p99At256Ms: crowd.p99Ms,
    rssMiB: sum(servers.map((server) => server.rssBytes())) / servers.length / 1024 ** 2,
  };
}

async function put(
  { name, servers }: Contender,
  connections: number,
  seconds: number,
): Promise<Load & { readonly cpuUs: number }> {
  const cpuMs = (): number => sum(servers.map((server) => server.cpuMs()));
  const before = cpuMs();
  const urls = servers.map(({ url }) => `${url}/domains`);
  const result = await wrkAtAll(urls, { connections, seconds });
  // What was begun when wrk hung up is finished, and its processor time counted.
  await pause(50);
  if (result.errors > 0) throw new Error(`${name}: ${result.errors} answers were errors`);
  return { ...result, cpuUs: ((cpuMs() - before) * 1000) / result.requests };
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
    ratio(
      'CPU per request at 256: redis / memory',
      of('redis', 'cpuUsAt256') / of('memory', 'cpuUsAt256'),
      1.2,
    ),
    ...(seen.has(FLEET)
      ? [
          ratio(`CPU per request: ${FLEET} / ${SEPARATE}`, cpu(FLEET) / cpu(SEPARATE), 1.2),
          ratio(
            `CPU per request at 256: ${FLEET} / ${SEPARATE}`,
            of(FLEET, 'cpuUsAt256') / of(SEPARATE, 'cpuUsAt256'),
            1.2,
          ),
          ratio(
            `CPU per request: ${COUNTING} / undici dispatch`,
            cpu(COUNTING) / cpu('undici dispatch'),
          ),
          ratio(
            'p50 added at 1: relay of bytes / nginx',
            added('relay', 'p50At1Ms') / added('nginx', 'p50At1Ms'),
          ),
          {
            what: `p50 at 1: ${COUNTING} over undici dispatch`,
            value: of(COUNTING, 'p50At1Ms') - of('undici dispatch', 'p50At1Ms'),
            unit: ' ms',
          },
        ]
      : []),
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
    ...['memory', 'redis'].map((name): Figure => ({
      what: `throughput at 256 / at 64: ${name}`,
      value: of(name, 'perSecondAt256') / of(name, 'perSecond'),
      unit: '×',
      goal: { at: 'least', bound: 0.5 },
    })),
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
      tell('CPU per request at 256', of(name, 'cpuUsAt256'), ' µs'),
      tell('throughput at 256', of(name, 'perSecondAt256'), '/s'),
      tell('p99 at 256', of(name, 'p99At256Ms'), ' ms'),
      tell('RSS', of(name, 'rssMiB'), ' MiB'),
    );
  }
  return figures;
}
