import { randomUUID } from 'node:crypto';
import { isLocal } from '../config/checks.ts';
import type { Config, LoadResult, Settings } from '../config/config.ts';
import { makeListener } from '../gateway/connections/listener.ts';
import { watchTls, type Tls, type TlsPaths } from '../gateway/connections/tls.ts';
import { combineRecorders, logCalls, type CallRecorder } from '../telemetry/call-line.ts';
import { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Log } from '../telemetry/log.ts';
import { makeMetrics, type Metrics, type MetricsOptions } from '../telemetry/metrics.ts';
import { RecentActivity } from '../telemetry/recent-activity.ts';
import type { Environment } from '../telemetry/tracing-provider.ts';
import type { Tracing } from '../telemetry/tracing-spans.ts';
import { startTracing } from '../telemetry/tracing.ts';
import type { Random, Clock } from '../util/clock.ts';
import { makeAdmin } from './admin.ts';
import { AdminToken } from './admin-token.ts';
import { makeApis } from './apis.ts';
import { startInterception } from './interception.ts';
import { listen } from './listen.ts';
import { connectionLimits } from './open-files.ts';
import { makeReload, SettingsInForce } from './settings-in-force.ts';
import { makeAuthThrottle, makeSharedParts, type Surroundings } from './shared-parts.ts';
import { makeShutdown } from './shutdown.ts';

export interface AppOptions {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly replica: string;
  readonly version?: string;
  /** How many log lines were dropped because their reader stalled. */
  readonly logLinesLost?: () => number;
  /**
   * Whether metrics include the process: memory, event loop, garbage collection. At most once per
   * process, because this collection cannot be stopped.
   */
  readonly processFigures?: boolean;
  /** Contains the standard OTEL_* variables; without them nothing is traced. */
  readonly env?: Environment;
}

/** A gateway that listens. */
export interface RunningGateway {
  /** Where callers connect: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** The proxy of clients with a fixed address; `undefined` when there is none. */
  readonly proxyUrl: string | undefined;
  /** Where operators connect; `undefined` when the admin listener is off. */
  readonly adminUrl: string | undefined;
  /**
   * Drains the gateway and closes it. Resolves when nothing is open any more.
   *
   * From now on the gateway is not ready, and every answer closes its connection. With `at-once` it
   * accepts no more connections; with `after-delay` it still accepts them during the drain delay,
   * in which load balancers notice that it is not ready. Then calls have the drain timeout to
   * finish; those that cannot are shed.
   */
  stop(pace?: 'at-once' | 'after-delay'): Promise<void>;
  /**
   * Cuts off every call that has not ended, so that each has its log line. Resolves when all have
   * ended, after a tenth of a second at most.
   */
  cutOff(): Promise<void>;
  /**
   * Applies settings that were loaded again to calls that arrive from now on, as far as they can
   * change without a restart, and logs which changed. Bad settings are rejected as a whole, with a
   * log line for each problem.
   */
  reload(loaded: LoadResult): void;
}

/** Composes the gateway and starts listening. What is open is closed in the reverse order. */
export async function startApp(options: AppOptions): Promise<RunningGateway> {
  const closers: Close[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.toReversed()) await close();
  };
  try {
    return await compose(options, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

type Close = () => unknown;

/** Adds to `closers` what closes each part, as soon as it is open. */
async function compose(
  options: AppOptions,
  closers: Close[],
  closeAll: () => Promise<void>,
): Promise<RunningGateway> {
  const { clock, random, log, replica, version = '', env } = options;
  const settings = new SettingsInForce(options.settings);
  const { config } = settings;

  const adminToken = new AdminToken(config.adminToken, log);
  closers.push(() => adminToken.close());
  const adminThrottle = makeAuthThrottle('admin', clock, log);

  const telemetry = await startTelemetry(options, {
    apis: () => apis.all,
    ledger: { snapshot: () => apis.ledger.snapshot() },
    laneQueued: () => apis.all.reduce((sum, { lane }) => sum + lane.queued, 0),
    bufferedBytes: () => shared.memory.bytes,
    connections: () => listener.connections,
    authFailures: () => ({ callers: shared.authThrottle.total, admin: adminThrottle.total }),
  });
  const { observe, recorder, tracing } = telemetry;
  closers.push(() => tracing?.close());

  const shared = makeSharedParts(config, { clock, random, log, observe, recorder });
  const interception = await startInterception({
    config: () => settings.config,
    shared,
    newId: randomUUID,
  });
  closers.push(() => interception?.close());
  const apis = await makeApis({
    ...telemetry,
    currentSettings: () => settings.now,
    shared,
    interception,
    env,
  });
  closers.push(() => apis.close());

  const tls = openTls(config.tls, log, closers);
  const limits = connectionLimits(config);
  const listener = makeListener({
    ...shared,
    ...limits,
    gateway: apis.callers,
    proxy: interception === undefined ? undefined : { interception, gateway: apis.proxy },
    tls,
    isTrustedProxy: settings.isTrustedProxy,
    shedStatus: config.shedStatus,
    keepAliveTimeoutMs: config.keepAliveTimeoutMs,
    newId: randomUUID,
  });
  closers.push(() => listener.close());

  const shutdown = makeShutdown({
    clock,
    log,
    listener,
    apis,
    config: () => settings.config,
    closeAll,
  });
  const reload = makeReload({ ...telemetry, settings, adminToken, apis, log });

  let adminUrl: string | undefined;
  if (config.adminListen !== 'off') {
    const adminTls = openTls(config.adminTls, log, closers);
    const admin = makeAdmin({
      ...shared,
      ...telemetry,
      tls: adminTls,
      auth: {
        token: () => adminToken.current(),
        throttle: adminThrottle,
        beyondLoopback: !isLocal(config.adminListen),
        isOurHost: settings.isOurHost,
        isTrustedProxy: settings.isTrustedProxy,
      },
      ledger: apis.ledger,
      settings: () => settings.now.effective,
      credentialName: settings.credentialName,
      isDraining: () => shutdown.isDraining,
      isObserving: () => settings.config.mode === 'observe',
      isMisconfigured: () => apis.all.some((api) => api.isMisconfigured()),
      replica,
      version,
    });
    closers.push(() => admin.close());
    adminUrl = await listen(admin.server, config.adminListen, schemeOf(adminTls));
  }
  const { proxyServer } = listener;
  const { intercept } = config;
  const proxyUrl =
    proxyServer === undefined || intercept === undefined
      ? undefined
      : await listen(proxyServer, intercept.listen);
  const url = await listen(listener.server, config.listen, schemeOf(tls));
  log.info({ url, adminUrl, proxyUrl, ...described(config), ...limits }, 'listening');
  return { url, adminUrl, proxyUrl, stop: shutdown.stop, cutOff: shutdown.cutOff, reload };
}

/** What observes the gateway. */
interface Telemetry extends Pick<Surroundings, 'observe' | 'recorder'> {
  readonly ledgerMonitor: LedgerMonitor;
  readonly metrics: Metrics;
  readonly activity: RecentActivity;
  readonly tracing: Tracing | undefined;
}

/** What metrics read of the parts that are made after them. */
type LaterSources = Pick<
  MetricsOptions,
  'apis' | 'ledger' | 'laneQueued' | 'bufferedBytes' | 'connections' | 'authFailures'
>;

async function startTelemetry(options: AppOptions, sources: LaterSources): Promise<Telemetry> {
  const { clock, log, replica, version = '', env = {} } = options;
  const { processFigures = false, logLinesLost = () => 0 } = options;
  const { config } = options.settings;
  const scheme = schemeOf(config.tls);
  const ledgerMonitor = new LedgerMonitor();
  const activity = new RecentActivity(clock);
  const metrics = makeMetrics({
    ...sources,
    clock,
    apiNames: config.apis.map(({ name }) => name),
    ledgerMonitor,
    logLinesLost,
    processFigures,
    version,
    scheme,
  });
  const tracing = await startTracing({ env, clock, log, replica, version, scheme });
  const recorders: CallRecorder[] = [logCalls(log), metrics.record, activity.record];
  if (tracing !== undefined) recorders.push(tracing.record);
  return {
    ledgerMonitor,
    metrics,
    activity,
    tracing,
    recorder: combineRecorders(recorders),
    observe(api) {
      const observer = metrics.observe(api);
      return {
        ...observer,
        throttled(className) {
          observer.throttled(className);
          activity.throttled();
        },
      };
    },
  };
}

/** Watches the certificate of a listener that has one. */
function openTls(paths: TlsPaths | undefined, log: Log, closers: Close[]): Tls | undefined {
  if (paths === undefined) return undefined;
  const tls = watchTls(paths, log);
  closers.push(() => tls.close());
  return tls;
}

function schemeOf(tls: object | undefined): 'http' | 'https' {
  return tls === undefined ? 'http' : 'https';
}

/** What the first log line says of the settings. */
function described(config: Config): Record<string, unknown> {
  const { intercept, mode, upstream } = config;
  const urlOf = ({ origin, basePath }: Config['upstream']): string => origin + basePath;
  const apis = config.apis.map((api) => [api.name, urlOf(api.upstream)] as const);
  return {
    ...(intercept === undefined ? {} : { intercepted: intercept.hosts }),
    ...(mode === 'observe' ? { mode } : {}),
    ...(apis.length === 0 ? { upstream: urlOf(upstream) } : { apis: Object.fromEntries(apis) }),
  };
}
