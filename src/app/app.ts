import { randomUUID } from 'node:crypto';
import { makeAdmin } from './admin.ts';
import { makeLedger } from './ledger.ts';
import { makePipelines } from './pipeline.ts';
import type { Loaded } from '../config/config.ts';
import { planReload, type Settings } from '../config/reload.ts';
import { ApiClock } from '../rate-headers/api-clock.ts';
import type { Random, Clock } from '../util/clock.ts';
import { isLoopback, makeIsOurHost } from '../http/origin-check.ts';
import type { Gateway } from '../gateway/gateway.ts';
import { makeListener } from '../gateway/listener.ts';
import { watchTls } from '../gateway/tls.ts';
import { logCalls, toAll } from '../telemetry/call-line.ts';
import { Feed } from '../telemetry/recent-activity.ts';
import { LedgerWatch } from '../telemetry/ledger-monitor.ts';
import type { Log } from '../telemetry/log.ts';
import { makeMetrics } from '../telemetry/metrics.ts';
import { startTracing, type Environment } from '../telemetry/tracing.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import { BodyMemory } from '../upstream/body-memory.ts';
import { makeLane } from '../upstream/lane.ts';
import { makeTokenSource } from '../upstream/token.ts';
import { makeUpstream } from '../upstream/upstream.ts';
import { closeServer, listen } from './listen.ts';
import { makeEndOfTurn } from '../util/end-of-turn.ts';

export interface AppOptions {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly replica: string;
  readonly version?: string;
  /** Log lines that were dropped because their reader stalled. */
  readonly logLinesLost?: () => number;
  /** Whether metrics watch the process too; once in a process, as that ends only with it. */
  readonly processFigures?: boolean;
  /** Where the standard OTEL_* variables are looked for; without them nothing is traced. */
  readonly env?: Environment;
}

/** A gateway that listens. */
export interface RunningGateway {
  /** Where callers connect: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Where operators connect; `undefined` when that is off. */
  readonly adminUrl: string | undefined;
  /**
   * Is not ready from now on, and has every answer close its connection; accepts no more at once, or
   * after the drain delay, in which load balancers learn of it. Lets what can finish within the
   * drain timeout finish, sheds the rest, and closes everything. Resolves when nothing is open any
   * more.
   */
  stop(pace?: 'at-once' | 'after-delay'): Promise<void>;
  /**
   * Takes over what can change of settings that were read again, for calls that arrive from now on,
   * and logs what changed. Bad settings are refused as a whole, with a line for each problem.
   */
  reload(read: Loaded): void;
}

/** After the drain timeout, this long for the last refusals to go out. */
const LAST_WORDS_MS = 500;

/** Constructs every part, starts listening, and knows how to close it all in reverse order. */
export async function startApp(options: AppOptions): Promise<RunningGateway> {
  const { clock, random, log, replica } = options;
  let { settings } = options;
  const { config } = settings;
  const closers: (() => unknown)[] = [];
  const apiClock = new ApiClock();
  const ledgerWatch = new LedgerWatch();

  const upstream = makeUpstream({ ...config.upstream, clock });
  closers.push(() => upstream.close());
  const atEndOfTurn = makeEndOfTurn({ busy: () => upstream.inUse > 0 });
  const lane = makeLane(config.lane);
  closers.push(() => lane.close());
  const token = makeTokenSource(config.token, log);
  closers.push(() => token.close());
  const composed = await makeLedger({
    redis: config.redis,
    secret: config.secret,
    live: () => settings.config,
    clock,
    atEndOfTurn,
    random,
    apiClock,
    places: upstream,
    log,
    observer: ledgerWatch,
  });
  closers.push(() => composed.close());
  const { ledger, credentialHash } = composed;

  const { processFigures = false, version = '', logLinesLost = () => 0 } = options;
  const bodyMemory = new BodyMemory(config.body.memoryBytes);
  const feed = new Feed(clock);
  const metrics = makeMetrics({
    clock,
    apiClock,
    ledger,
    ledgerWatch,
    laneQueued: () => lane.queued,
    bufferedBytes: () => bodyMemory.bytes,
    logLinesLost,
    processFigures,
  });
  const observer: PipelineObserver = {
    throttled(className) {
      metrics.throttled(className);
      feed.throttled();
    },
    retry: (because) => metrics.retry(because),
  };
  const { env = {} } = options;
  const tracing = await startTracing({ env, clock, log, replica, version });
  closers.push(() => tracing?.close());
  const recorders = [logCalls(log), metrics.record, feed.record];
  const recorder = toAll(tracing === undefined ? recorders : [...recorders, tracing.record]);
  const { shedStatus } = config;
  const parts = { upstream, lane, ledger };
  const walkUnder = makePipelines({
    ...(tracing?.watch(parts) ?? parts),
    credentialHash,
    token,
    apiClock,
    clock,
    atEndOfTurn,
    random,
    log,
    observer,
    recorder,
    bodyMemory,
  });
  let walk = walkUnder(config);
  const gateway: Gateway = (call) => {
    tracing?.begin(call);
    return walk(call);
  };
  const tls = config.tls === undefined ? undefined : watchTls(config.tls, log);
  closers.push(() => tls?.close());
  const { keepAliveTimeoutMs } = config;
  const listener = makeListener({
    gateway,
    recorder,
    clock,
    newId: randomUUID,
    shedStatus,
    keepAliveTimeoutMs,
    tls,
  });
  closers.push(() => listener.close());

  let draining = false;
  let isOurHost = makeIsOurHost(config.hosts);
  let adminUrl: string | undefined;
  try {
    if (config.adminListen !== 'off') {
      const admin = makeAdmin({
        auth: {
          token: () => settings.config.adminToken,
          beyondLoopback: !isLoopback(config.adminListen.host),
          isOurHost: (hostField) => isOurHost(hostField),
        },
        clock,
        ledger,
        ledgerWatch,
        metrics,
        feed,
        settings: () => settings.shown,
        isDraining: () => draining,
        replica,
        version,
      });
      closers.push(() => admin.close());
      adminUrl = await listen(admin.server, config.adminListen);
      closers.push(() => closeServer(admin.server));
    }
    const url = await listen(listener.server, config.listen, tls === undefined ? 'http' : 'https');
    log.info(
      { url, adminUrl, upstream: config.upstream.origin + config.upstream.basePath },
      'listening',
    );
    return { url, adminUrl, stop, reload };
  } catch (error) {
    await closeAll();
    throw error;
  }

  async function closeAll(): Promise<void> {
    for (const close of closers.toReversed()) await close();
  }

  function reload(read: Loaded): void {
    const planned =
      read.kind === 'ok'
        ? planReload(settings, read)
        : { kind: 'refused' as const, problems: read.problems };
    if (planned.kind === 'refused') {
      for (const problem of planned.problems) log.error({ problem }, 'reload refused');
      return;
    }
    const { changed, needRestart } = planned;
    log.info({ changed, needRestart }, 'reloaded');
    settings = planned.settings;
    log.level = settings.config.logLevel;
    isOurHost = makeIsOurHost(settings.config.hosts);
    walk = walkUnder(settings.config);
  }

  async function stop(pace: 'at-once' | 'after-delay' = 'at-once'): Promise<void> {
    draining = true;
    listener.retire();
    const { drainTimeoutMs } = settings.config;
    const delayMs = pace === 'after-delay' ? settings.config.drainDelayMs : 0;
    log.info({ inFlight: listener.inFlight, delayMs, drainTimeoutMs }, 'draining');
    ledger.drain(clock.now() + delayMs + drainTimeoutMs);
    if (delayMs > 0) await passed(clock, delayMs);
    const finished = listener.drain();
    const inTime = await within(clock, drainTimeoutMs, finished);
    if (!inTime) {
      // What the API still owes will not come: every caller hears so, and every line is written.
      await upstream.close();
      listener.refuseRest();
      await within(clock, LAST_WORDS_MS, finished);
    }
    await closeAll();
    log.info({ inTime }, 'stopped');
  }
}

function passed(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** Resolves to whether `promise` was done within `ms`. */
function within(clock: Clock, ms: number, promise: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve(false));
    void promise.then(() => {
      timer.cancel();
      resolve(true);
    });
  });
}
