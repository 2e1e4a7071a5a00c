import { createHash } from 'node:crypto';
import { costIn } from '../../src/http/cost-rule.ts';
import type { LimiterOptions } from './limiter.ts';
import { reportRetryAfter, reportTriple } from './limit-reports.ts';
import type { ApiLimit, MeteredRequest, MeterOptions, Reporter } from './several-limits.ts';

/**
 * The limits of real APIs, as their documents and recorded answers have them; `makeMeter` counts by
 * them. Sizes are options, so that a test can scale them.
 */

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

export interface GithubOptions {
  /** 5,000 an hour by default. */
  readonly core?: LimiterOptions;
  /** 30 a minute by default. */
  readonly search?: LimiterOptions;
  /** GitHub refuses with 403 or 429; 429 by default. */
  readonly refusalStatus?: 403 | 429;
}

/** GitHub: a core and a search bucket of each credential, told apart by `x-ratelimit-resource`. */
export function githubWorld(options: GithubOptions = {}): MeterOptions {
  const { core = { limit: 5000, periodMs: 60 * MINUTE_MS } } = options;
  const { search = { limit: 30, periodMs: MINUTE_MS }, refusalStatus = 429 } = options;
  return {
    limits: [
      { name: 'search', ...search, counts: isSearch },
      { name: 'core', ...core, counts: (request) => !isSearch(request) },
    ],
    report: reportTriple({ reset: 'epoch-ceil', nameHeader: 'x-ratelimit-resource' }),
    refusalStatus,
  };
}

function isSearch({ path }: MeteredRequest): boolean {
  return path.startsWith('/search/');
}

export interface DiscordOptions {
  /** Of each route and channel, guild or webhook; 5 in 5 s by default. */
  readonly route?: LimiterOptions;
  /** Over all routes but interactions; 50 a second by default. */
  readonly global?: LimiterOptions;
}

/**
 * Discord: `x-ratelimit-bucket` has a hash of the route, and each channel, guild and webhook has a
 * counter of its own under it. The global limit is reported only by its refusals, without numbers.
 */
export function discordWorld(options: DiscordOptions = {}): MeterOptions {
  const { route = { limit: 5, periodMs: 5000 }, global = { limit: 50, periodMs: 1000 } } = options;
  const ofRoute = reportTriple({
    reset: 'epoch-float',
    nameHeader: 'x-ratelimit-bucket',
    nameOf: (_report, { request }) => discordBucket(request),
  });
  const report: Reporter = (metered) => {
    const { refusedBy, reports, nowMs } = metered;
    const [first] = reports;
    const wait = reportRetryAfter()(metered);
    if (refusedBy?.name === 'global') {
      return { 'x-ratelimit-global': 'true', 'x-ratelimit-scope': 'global', ...wait };
    }
    const resetAfter = (Math.max(0, (first?.resetAtMs ?? nowMs) - nowMs) / 1000).toFixed(3);
    return {
      ...ofRoute(metered),
      'x-ratelimit-reset-after': resetAfter,
      ...(refusedBy === undefined ? {} : { 'x-ratelimit-scope': 'user' }),
      ...wait,
    };
  };
  return {
    limits: [
      {
        name: 'global',
        ...global,
        counts: ({ path }) => !/\/interactions\//.test(path),
        reported: 'never',
      },
      {
        name: 'route',
        ...route,
        part: (request) => `${discordBucket(request)}:${majorId(request)}`,
      },
    ],
    report,
  };
}

/** The hash by which Discord's answers name a route's bucket, the same for every channel. */
export function discordBucket({ method, path }: MeteredRequest): string {
  const template = path.replaceAll(/\/\d+/g, '/:id');
  return createHash('sha1').update(`${method} ${template}`).digest('hex').slice(0, 16);
}

/** The channel, guild or webhook of a route. */
function majorId({ path }: MeteredRequest): string {
  const [, id = ''] = /\/(?:channels|guilds|webhooks)\/(\d+)/.exec(path) ?? [];
  return id;
}

export interface SlackOptions {
  /** Of each method of tier 2; 20 a minute by default. */
  readonly tier2?: LimiterOptions;
  /** Of each other method; 50 a minute by default. */
  readonly tier3?: LimiterOptions;
}

/** Methods of Slack's tier 2. */
const TIER_2: ReadonlySet<string> = new Set([
  '/api/conversations.list',
  '/api/search.messages',
  '/api/users.list',
]);

/** Slack: a limit for each method and token, and no headers but the Retry-After of a 429. */
export function slackWorld(options: SlackOptions = {}): MeterOptions {
  const { tier2 = { limit: 20, periodMs: MINUTE_MS } } = options;
  const { tier3 = { limit: 50, periodMs: MINUTE_MS } } = options;
  const part = ({ path }: MeteredRequest): string => path;
  return {
    limits: [
      { name: 'tier-2', ...tier2, counts: ({ path }) => TIER_2.has(path), part },
      { name: 'tier-3', ...tier3, counts: ({ path }) => !TIER_2.has(path), part },
    ],
    report: reportRetryAfter(),
  };
}

export interface AzionLimitsOptions {
  /** 80 a minute by default. */
  readonly reads?: LimiterOptions;
  /** 20 a minute by default. */
  readonly writes?: LimiterOptions;
  /** Requests by URL and cache key; 200 a minute by default. */
  readonly purges?: LimiterOptions;
  /** Objects in these requests; 10,000 a minute by default. */
  readonly objects?: LimiterOptions;
  /** 2,000 a day by default. */
  readonly wildcards?: LimiterOptions;
  /** Which answers report the limit of objects, in the same headers as that of requests. */
  readonly objectsReported?: ApiLimit['reported'];
  /** Credentials of one account share all counters. */
  readonly accountOf?: (credential: string) => string;
}

/** Azion: reads, writes and purges with limits of their own, which answers report without a name. */
export function azionWorld(options: AzionLimitsOptions = {}): MeterOptions {
  const { reads = { limit: 80, periodMs: MINUTE_MS } } = options;
  const { writes = { limit: 20, periodMs: MINUTE_MS } } = options;
  const { purges = { limit: 200, periodMs: MINUTE_MS } } = options;
  const { objects = { limit: 10_000, periodMs: MINUTE_MS } } = options;
  const { wildcards = { limit: 2000, periodMs: DAY_MS }, objectsReported = 'never' } = options;
  const common = { semantics: 'sliding', scope: 'account' } as const;
  const counts =
    (kind: AzionKind) =>
    (request: MeteredRequest): boolean =>
      azionKind(request) === kind;
  return {
    limits: [
      { name: 'read', ...reads, ...common, counts: counts('read') },
      { name: 'write', ...writes, ...common, counts: counts('write') },
      { name: 'wildcard', ...wildcards, ...common, counts: counts('wildcard') },
      { name: 'purge', ...purges, ...common, counts: counts('purge') },
      {
        name: 'objects',
        ...objects,
        ...common,
        counts: counts('purge'),
        cost: objectsIn,
        reported: objectsReported,
      },
    ],
    report: reportTriple(),
    ...(options.accountOf === undefined ? {} : { accountOf: options.accountOf }),
  };
}

type AzionKind = 'read' | 'write' | 'purge' | 'wildcard';

function azionKind({ method, path }: MeteredRequest): AzionKind {
  if (method !== 'POST') return method === 'GET' || method === 'HEAD' ? 'read' : 'write';
  if (path === '/purge/wildcard') return 'wildcard';
  return path.startsWith('/purge/') ? 'purge' : 'write';
}

function objectsIn({ body = '' }: MeteredRequest): number {
  return costIn(body, { body: '/urls', count: true, else: 1 });
}
