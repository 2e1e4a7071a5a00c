import { randomBytes, randomUUID } from 'node:crypto';
import { makeAdmin } from './admin.ts';
import { makeApis } from './apis.ts';
import { isLocal } from '../config/checks.ts';
import {
  servedApis,
  type Config,
  type LoadResult,
  type ServedApi,
  type Settings,
} from '../config/config.ts';
import { planReload, RELOADABLE_SETTINGS } from '../config/reload.ts';
import { SETTINGS } from '../config/settings.ts';
import { isSocketPath } from '../config/values.ts';
import type { Random, Clock } from '../util/clock.ts';
import { AuthThrottle } from '../http/auth-throttle.ts';
import { makeIsOurHost } from '../http/origin-check.ts';
import { CallLimits } from '../gateway/call-limits.ts';
import { makeListener } from '../gateway/listener.ts';
import { Peers } from '../gateway/peers.ts';
import { ProxyKeys } from '../gateway/proxy-keys.ts';
import { makeWatchReading } from '../gateway/reading-watch.ts';
import { makeSendQueue } from '../gateway/send-queue.ts';
import { makeIsTrustedProxy } from '../gateway/trusted-proxies.ts';
import { watchTls, type Tls } from '../gateway/tls.ts';
import { combineRecorders, logCalls } from '../telemetry/call-line.ts';
import { makeCredentialName } from '../telemetry/credential-names.ts';
import { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Log } from '../telemetry/log.ts';
import { makeMetrics } from '../telemetry/metrics.ts';
import { RecentActivity } from '../telemetry/recent-activity.ts';
import type { Environment } from '../telemetry/tracing-provider.ts';
import { startTracing } from '../telemetry/tracing.ts';
import { RequestMemory } from '../upstream/request-memory.ts';
import { makeTokenSource } from '../upstream/token.ts';
import { connectionLimits } from './open-files.ts';
import { startInterception } from './interception.ts';
import { listen } from './listen.ts';
import type { SharedParts } from './pipeline.ts';

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

/** After the drain timeout, the last refusals have this long to reach their callers. */
const LAST_REFUSALS_MS = 500;
/** The same after a second signal to stop, which asks for the end at once. */
const CUT_OFF_MS = 100;

/** Constructs every part and starts listening. Closing happens in the reverse order. */
export async function startApp(options: AppOptions): Promise<RunningGateway> {
  const closers: Close[] = [];
  try {
    return await constructAndListen(options, closers);
  } catch (error) {
    await closeAll(closers);
    throw error;
  }
}

type Close = () => unknown;

async function closeAll(closers: readonly Close[]): Promise<void> {
  for (const close of closers.toReversed()) await close();
}

async function constructAndListen(options: AppOptions, closers: Close[]): Promise<RunningGateway> {
  const { clock, random, log, replica } = options;
  let { settings } = options;
  const { config } = settings;
  const ledgerMonitor = new LedgerMonitor();

  let adminToken = makeTokenSource(config.adminToken, SETTINGS.adminToken.kind, log);
  closers.push(() => adminToken.close());
  const { processFigures = false, version = '', logLinesLost = () => 0 } = options;
  const callLimits = new CallLimits(config.maxCalls);
  // All connections to a Unix socket come from this machine, and have no address.
  const isByPath = isSocketPath(config.listen);
  const peers = new Peers(isByPath ? 'unix' : undefined);
  const requestMemory = new RequestMemory(config.body.memoryBytes);
  const authThrottles = {
    callers: makeAuthThrottle('callers', clock, log),
    admin: makeAuthThrottle('admin', clock, log),
  };
  const activity = new RecentActivity(clock);
  const scheme = config.tls === undefined ? 'http' : 'https';
  const metrics = makeMetrics({
    clock,
    apiNames: config.apis.map(({ name }) => name),
    apis: () => apis.all,
    ledger: { snapshot: () => apis.ledger.snapshot() },
    ledgerMonitor,
    laneQueued: () => apis.all.reduce((sum, { lane }) => sum + lane.queued, 0),
    bufferedBytes: () => requestMemory.bytes,
    connections: () => listener.connections,
    authFailures: () => ({
      callers: authThrottles.callers.total,
      admin: authThrottles.admin.total,
    }),
    logLinesLost,
    processFigures,
    version,
    scheme,
  });
  const { env = {} } = options;
  const tracing = await startTracing({
    env,
    clock,
    log,
    replica,
    version,
    scheme,
  });
  closers.push(() => tracing?.close());
  const recorders = [logCalls(log), metrics.record, activity.record];
  const recorder = combineRecorders(
    tracing === undefined ? recorders : [...recorders, tracing.record],
  );
  const { shedStatus } = config;
  const shared: SharedParts = {
    clock,
    random,
    log,
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
    recorder,
    requestMemory,
    callLimits,
    authThrottle: authThrottles.callers,
    peers,
    watchReading: makeWatchReading({ clock, sendQueue: makeSendQueue(clock) }),
    proxyKeys: config.intercept === undefined ? undefined : new ProxyKeys(),
    viaId: `headgate-${randomBytes(4).toString('hex')}`,
    keyHashKey: randomBytes(32),
  };
  const { intercept } = config;
  const interception =
    intercept === undefined || shared.proxyKeys === undefined
      ? undefined
      : await startInterception({
          intercept,
          proxyKeys: shared.proxyKeys,
          config: () => settings.config,
          shared,
          newId: randomUUID,
        });
  closers.push(() => interception?.close());
  const apis = await makeApis({
    currentSettings: () => settings,
    ledgerMonitor,
    tracing,
    metrics,
    env: options.env,
    shared,
  });
  closers.push(() => apis.close());
  /** What is made of the settings; a reload makes it anew. */
  const makeInForce = () => ({
    gateways: apis.gateways(interception),
    isOurHost: makeIsOurHost(settings.config.hosts),
    isTrustedProxy: makeIsTrustedProxy(settings.config.trustedProxies),
    credentialName: makeCredentialName(credentialsOf(settings.config)),
  });
  let inForce = makeInForce();
  const tls = config.tls === undefined ? undefined : watchTls(config.tls, log);
  closers.push(() => tls?.close());
  const { keepAliveTimeoutMs } = config;
  const { maxConnections, maxConnectionsPerAddress } = connectionLimits(config);
  const listener = makeListener({
    gateway: (call) => inForce.gateways.callers(call),
    recorder,
    clock,
    newId: randomUUID,
    shedStatus,
    keepAliveTimeoutMs,
    tls,
    memory: requestMemory,
    callLimits,
    log,
    maxConnections,
    maxConnectionsPerAddress,
    peers,
    isTrustedProxy: (address) => inForce.isTrustedProxy(address),
    proxy:
      interception === undefined
        ? undefined
        : { interception, gateway: async (call) => inForce.gateways.proxy?.(call) },
  });
  closers.push(() => listener.close());

  let draining = false;
  let adminUrl: string | undefined;
  if (config.adminListen !== 'off') {
    const { adminTls } = config;
    const certificate = adminTls === undefined ? undefined : watchTls(adminTls, log);
    closers.push(() => certificate?.close());
    const admin = makeAdmin({
      tls: certificate,
      auth: {
        token: () => adminToken.current(),
        throttle: authThrottles.admin,
        beyondLoopback: !isLocal(config.adminListen),
        isOurHost: (hostField) => inForce.isOurHost(hostField),
        isTrustedProxy: (address) => inForce.isTrustedProxy(address),
      },
      clock,
      memory: requestMemory,
      ledger: apis.ledger,
      ledgerMonitor,
      metrics,
      activity,
      settings: () => settings.effective,
      credentialName: (bucketId) => inForce.credentialName(bucketId),
      isDraining: () => draining,
      isObserving: () => settings.config.mode === 'observe',
      log,
      isMisconfigured: () => apis.all.some((api) => api.isMisconfigured()),
      replica,
      version,
    });
    closers.push(() => admin.close());
    adminUrl = await listen(admin.server, config.adminListen, schemeOf(certificate));
  }
  const { proxyServer } = listener;
  const proxyUrl =
    proxyServer === undefined || intercept === undefined
      ? undefined
      : await listen(proxyServer, intercept.listen);
  const url = await listen(listener.server, config.listen, schemeOf(tls));
  log.info(
    {
      url,
      adminUrl,
      ...(proxyUrl === undefined ? {} : { proxyUrl, intercepted: intercept?.hosts }),
      ...(config.mode === 'observe' ? { mode: config.mode } : {}),
      ...describeUpstreams(servedApis(config)),
      maxConnections,
      maxConnectionsPerAddress,
    },
    'listening',
  );
  return { url, adminUrl, proxyUrl, stop, cutOff, reload };

  function reload(loaded: LoadResult): void {
    if (loaded.kind !== 'ok') return refuseReload(loaded.problems);
    const planned = planReload(settings, loaded);
    if (planned.kind === 'refused') return refuseReload(planned.problems);
    const { changed, needRestart } = planned;
    if (changed.includes(RELOADABLE_SETTINGS.adminToken)) {
      try {
        const { adminToken: options } = planned.settings.config;
        const next = makeTokenSource(options, SETTINGS.adminToken.kind, log);
        adminToken.close();
        adminToken = next;
      } catch (error) {
        // The file was valid when the settings were loaded, and has been replaced since.
        return refuseReload([`HEADGATE_ADMIN_TOKEN_FILE: ${asError(error).message}`]);
      }
    }
    log.info({ changed, needRestart }, 'reloaded');
    metrics.reloaded('applied');
    settings = planned.settings;
    log.level = settings.config.logLevel;
    for (const api of apis.all) {
      api.log.level = log.level;
      api.renewToken();
    }
    inForce = makeInForce();
  }

  function refuseReload(problems: readonly string[]): void {
    for (const problem of problems) log.error({ problem }, 'reload refused');
    metrics.reloaded('refused');
  }

  async function cutOff(): Promise<void> {
    const finished = listener.drain();
    listener.refuseRest();
    await settlesWithin(clock, CUT_OFF_MS, finished);
  }

  async function stop(pace: 'at-once' | 'after-delay' = 'at-once'): Promise<void> {
    draining = true;
    listener.retire();
    const { drainTimeoutMs } = settings.config;
    const delayMs = pace === 'after-delay' ? settings.config.drainDelayMs : 0;
    log.info({ inFlight: listener.inFlight, delayMs, drainTimeoutMs }, 'draining');
    apis.ledger.drain(clock.now() + delayMs + drainTimeoutMs);
    if (delayMs > 0) await delay(clock, delayMs);
    const finished = listener.drain();
    const inTime = await settlesWithin(clock, drainTimeoutMs, finished);
    if (!inTime) {
      // The remaining calls get no answer of the API: each is refused, and its line is logged.
      listener.refuseRest();
      await apis.abort();
      await settlesWithin(clock, LAST_REFUSALS_MS, finished);
    }
    await closeAll(closers);
    log.info({ inTime }, 'stopped');
  }
}

/** The names of credentials of all APIs. */
function credentialsOf(config: Config): Config['credentials'] {
  return servedApis(config).flatMap((api) => api.config.credentials);
}

/** What the first log line says of the APIs. */
function describeUpstreams(apis: readonly ServedApi[]): Record<string, unknown> {
  const urlOf = ({ config: { upstream } }: ServedApi): string =>
    upstream.origin + upstream.basePath;
  const [single] = apis;
  if (single?.name === undefined) return { upstream: single === undefined ? '' : urlOf(single) };
  return { apis: Object.fromEntries(apis.map((api) => [api.name, urlOf(api)])) };
}

function makeAuthThrottle(
  listener: 'callers' | 'admin',
  clock: Clock,
  log: Pick<Log, 'warn'>,
): AuthThrottle {
  return new AuthThrottle({
    clock,
    report: (failure) => log.warn({ listener, ...failure }, 'auth failures'),
  });
}

function schemeOf(tls: Tls | undefined): 'http' | 'https' {
  return tls === undefined ? 'http' : 'https';
}

function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Resolves to whether `promise` resolves within `ms`. */
function settlesWithin(clock: Clock, ms: number, promise: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve(false));
    void promise.then(() => {
      timer.cancel();
      resolve(true);
    });
  });
}
