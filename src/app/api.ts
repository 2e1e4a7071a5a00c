import type { ServedApi } from '../config/config.ts';
import type { RedisConfig } from '../config/redis.ts';
import type { Pipeline } from '../gateway/gateway.ts';
import { LearnedDraws } from '../draws/learned-draws.ts';
import type { Lesson } from '../draws/lesson.ts';
import { DEFAULT_CLASS } from '../http/classify.ts';
import { makeQueryMask, maskPath } from '../http/target.ts';
import { SocketShare } from '../gateway/connections/socket-share.ts';
import { DrawsLedger } from '../ledger/draws-ledger.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { ApiClock } from '../rate-headers/api-clock.ts';
import type { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import { logOfApi, type Log } from '../telemetry/log.ts';
import type { HttpMetrics } from '../telemetry/http-metrics.ts';
import type { MaskedTarget, Tracing } from '../telemetry/tracing-spans.ts';
import { makeLane, type Lane } from '../upstream/lane.ts';
import { makeUpstream, type Upstream } from '../upstream/upstream.ts';
import { makeEndOfTurn } from '../util/end-of-turn.ts';
import { NameCounts } from '../util/name-counts.ts';
import { makeLocalLedger, type BuiltLedger, type LedgerParts } from './ledger.ts';
import { makeToken } from './token.ts';
import { makePipelines } from './pipeline.ts';
import type { SharedParts } from './shared-parts.ts';

export interface ApiOptions {
  /** The API at the start. */
  readonly served: ServedApi;
  /** The same API with the settings in force, which a reload changes. */
  readonly current: () => ServedApi;
  readonly shared: SharedParts;
  readonly ledgerMonitor: LedgerMonitor;
  readonly tracing: Pick<Tracing, 'instrument'> | undefined;
  readonly metrics: Pick<HttpMetrics, 'attemptsAt'> | undefined;
  /** The environment for commands that settings name; absent: that of this process. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/**
 * One API of the gateway: its sockets, its clock, its token, and its budgets. Nothing of it is
 * another API's, so a token cannot reach another origin, nor a budget be spent for another API.
 */
export interface Api {
  readonly name: string | undefined;
  readonly log: Log;
  readonly ledger: Ledger;
  /** What its answers showed of its buckets. */
  readonly lessons: () => readonly Lesson[];
  readonly apiClock: ApiClock;
  readonly upstream: Pick<Upstream, 'close'>;
  readonly lane: Pick<Lane, 'queued'>;
  /** Whether Redis has always refused this replica, which must then receive no calls. */
  readonly isMisconfigured: () => boolean;
  /** Renews the token, if a command prints it. */
  renewToken(): void;
  /** Makes the pipeline for the settings in force. */
  pipeline(): Pipeline;
  close(): Promise<void>;
}

/** Constructs the parts of an API. */
export async function makeApi(options: ApiOptions): Promise<Api> {
  const { served, current, tracing } = options;
  const { name, config } = served;
  const { clock, random, callLimits } = options.shared;
  const log = name === undefined ? options.shared.log : logOfApi(options.shared.log, name);
  const shared = { ...options.shared, log };
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const end of closers.toReversed()) await end();
  };
  try {
    const redis = redisOf(served);
    const apiClock = new ApiClock();
    const upstream = makeUpstream({ ...config.upstream, clock });
    closers.push(() => upstream.close());
    const atEndOfTurn = makeEndOfTurn({ busy: () => upstream.inUse > 0 });
    const lane = makeLane(config.lane);
    closers.push(() => lane.close());
    const token = await makeToken(served, { clock, env: options.env, upstream, redis, log });
    closers.push(() => token.close());
    const learned = new LearnedDraws({
      maskPath: (path) => maskPath(path, current().config.pathMasks),
    });
    const built = await makeLedger(redis, {
      secret: config.secret,
      currentConfig: () => current().config,
      clock,
      atEndOfTurn,
      random,
      apiClock,
      socketPermits: upstream,
      log,
      observer: options.ledgerMonitor.observe(),
      learned,
    });
    closers.push(() => built.close());
    const { ledger, credentialHash, isMisconfigured = () => false } = built;
    const { connections } = config.upstream;
    const owners = name === undefined ? undefined : new ApiOwners();
    const socketShare = new SocketShare({
      clock,
      upstream,
      connections,
      callLimits: owners ?? callLimits,
    });
    const { origin, basePath } = config.upstream;
    const parts = {
      upstream,
      lane,
      ledger,
    };
    const masked = (path: string, query: string): MaskedTarget => {
      const { pathMasks, queryMasks } = current().config;
      return { path: maskPath(path, pathMasks), query: makeQueryMask(queryMasks)(query) };
    };
    const traced = tracing?.instrument(parts, { origin, basePath, masked }) ?? parts;
    const pipelineFor = makePipelines(shared, {
      ...traced,
      ledger: new DrawsLedger({ ledger: traced.ledger, clock, socketPermits: upstream }),
      learned,
      measureAttempt: options.metrics?.attemptsAt(origin) ?? (() => undefined),
      credentialHash,
      token,
      apiClock,
      atEndOfTurn,
      socketShare,
    });
    return {
      name,
      log,
      ledger,
      lessons: () =>
        current().config.learnBuckets === 'on' ? ofSplitClasses(learned.lessons(clock.now())) : [],
      apiClock,
      upstream,
      lane,
      isMisconfigured,
      renewToken: () => token.renew(),
      pipeline() {
        const now = current();
        learned.keepOnly(new Set([DEFAULT_CLASS, ...now.config.classes.map((rule) => rule.name)]));
        const pipeline = pipelineFor(now);
        return owners === undefined ? pipeline : owners.counting(pipeline);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The lessons of classes that turned out to have several buckets. */
function ofSplitClasses(all: readonly Lesson[]): Lesson[] {
  const split = all.filter(({ route, counters }) => route !== undefined || counters.length > 1);
  const classes = new Set(split.map((lesson) => lesson.class));
  return all.filter((lesson) => classes.has(lesson.class));
}

/**
 * The owners that have a call under way at one of several APIs. An owner that has the sockets to an API
 * for itself may use them all, whatever others send to other APIs.
 */
class ApiOwners {
  readonly #calls = new NameCounts();

  get owners(): number {
    return this.#calls.nonZero;
  }

  /** Returns a pipeline whose calls are counted. A pipeline determines the owner before it waits. */
  counting(pipeline: Pipeline): Pipeline {
    return (call, target) => {
      const running = pipeline(call, target);
      const { countedFor } = call;
      if (countedFor === undefined) return running;
      this.#calls.add(countedFor);
      return running.finally(() => this.#calls.subtract(countedFor));
    };
  }
}

/** The Redis of an API: each of several has its own keys, replicas and messages there. */
function redisOf({ name, config: { redis } }: ServedApi): RedisConfig | undefined {
  if (redis === undefined || name === undefined) return redis;
  return { ...redis, prefix: `${redis.prefix}:${name}` };
}

/** Constructs the ledger that the settings ask for: the local one, or the shared one on Redis. */
async function makeLedger(
  redis: RedisConfig | undefined,
  parts: LedgerParts,
): Promise<BuiltLedger> {
  if (redis === undefined) return makeLocalLedger(parts);
  // Imported only where it is used: loading the Redis client takes a tenth of the start-up time.
  const { makeSharedLedger } = await import('./shared-ledger.ts');
  return makeSharedLedger(parts, redis);
}
