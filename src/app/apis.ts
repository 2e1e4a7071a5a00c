import { servedApis, type Config, type ServedApi, type Settings } from '../config/config.ts';
import { makeRecord } from '../gateway/record.ts';
import { makeIsOwnAuthority } from '../gateway/identify/request-checks.ts';
import { makeRefuse } from '../gateway/respond.ts';
import type { Interception } from '../gateway/proxy/interception.ts';
import { makeRoutes, type ApiRoute, type Gateway } from '../gateway/routes.ts';
import { makeForwardedBy, makeIsTrustedProxy } from '../gateway/identify/trusted-proxies.ts';
import { makeWatchUnread } from '../gateway/respond/unread-answers.ts';
import { makeIsOurHost } from '../http/origin-check.ts';
import type { BucketSnapshot, Ledger } from '../ledger/ledger.ts';
import type { HttpMetrics } from '../telemetry/http-metrics.ts';
import type { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Tracing } from '../telemetry/tracing-spans.ts';
import { makeApi, type Api, type ApiOptions } from './api.ts';
import { hostNamesOf } from './pipeline.ts';
import type { SharedParts } from './shared-parts.ts';

export interface ApisOptions {
  readonly currentSettings: () => Settings;
  readonly shared: SharedParts;
  readonly ledgerMonitor: LedgerMonitor;
  readonly tracing: Tracing | undefined;
  readonly metrics: Pick<HttpMetrics, 'attemptsAt'> | undefined;
  /** The proxy for clients with a fixed address; absent: there is none. */
  readonly interception?: Pick<Interception, 'hostOf' | 'isOwnAuthority'> | undefined;
  readonly env?: ApiOptions['env'];
}

interface Gateways {
  /** Handles the calls of the callers' listener, by the settings in force. */
  readonly callers: Gateway;
  /** Handles those of the proxy: each goes to the API whose URL it is for, whatever `match` says. */
  readonly proxy: Gateway;
}

/** All APIs of the gateway, and the routes to them. */
export interface Apis extends Gateways {
  readonly all: readonly Api[];
  /** The buckets of all APIs, as one ledger. */
  readonly ledger: Pick<Ledger, 'snapshot' | 'pause' | 'resume' | 'drain'>;
  /** Applies the settings in force to the calls that arrive from now on, and renews the tokens. */
  reload(): void;
  /** Aborts what is under way at the APIs. */
  abort(): Promise<void>;
  close(): Promise<void>;
}

/** Constructs every API of the settings. */
export async function makeApis(options: ApisOptions): Promise<Apis> {
  const { currentSettings, shared, ledgerMonitor, tracing, metrics, interception, env } = options;
  const all: Api[] = [];
  const close = async (): Promise<void> => {
    for (const api of all.toReversed()) await api.close();
  };
  // A reload makes new settings, and leaves the APIs and their order as they are.
  let known = currentSettings();
  let servedNow = servedApis(known.config);
  let gateways: Gateways;
  function served(at: number): ServedApi {
    const settings = currentSettings();
    if (settings !== known) {
      known = settings;
      servedNow = servedApis(settings.config);
    }
    const api = servedNow[at];
    if (api === undefined) throw new Error(`there is no API number ${at}`);
    return api;
  }
  try {
    for (const [at, api] of servedNow.entries()) {
      const current = (): ServedApi => served(at);
      const parts = { shared, ledgerMonitor, tracing, metrics, env };
      all.push(await makeApi({ ...parts, served: api, current }));
    }
    gateways = makeGateways();
  } catch (error) {
    await close();
    throw error;
  }

  function traced(gateway: Gateway): Gateway {
    if (tracing === undefined) return gateway;
    return (call) => {
      tracing.begin(call);
      return gateway(call);
    };
  }

  /** Makes the handlers of calls for the settings in force. */
  function makeGateways(): Gateways {
    const routes = all.map((api, at) => {
      const { match, config } = served(at);
      return { ...match, pipeline: api.pipeline(), upstream: config.upstream };
    });
    const parts = partsForNoApi(shared, known.config);
    const callers = traced(makeRoutes({ apis: routes, ...parts }));
    const hosts = known.config.intercept?.hosts ?? [];
    // Without a proxy, no call comes through it.
    if (interception === undefined) return { callers, proxy: callers };
    const { hostOf, isOwnAuthority } = interception;
    const apis = routes.flatMap(({ upstream, pipeline }): ApiRoute[] => {
      const { hostname } = new URL(upstream.origin);
      if (!hosts.includes(hostname)) return [];
      return [{ hosts: [hostname], prefix: upstream.basePath, pipeline }];
    });
    const proxy = traced(makeRoutes({ ...parts, apis, hostOf, isOwnAuthority }));
    return { callers, proxy };
  }

  return {
    all,
    ledger: {
      snapshot: () => all.flatMap(snapshotOf),
      pause: (bucketId) => all.some(({ ledger }) => ledger.pause(bucketId)),
      resume: (bucketId) => all.some(({ ledger }) => ledger.resume(bucketId)),
      drain(untilMs) {
        for (const { ledger } of all) ledger.drain(untilMs);
      },
    },
    callers: (call) => gateways.callers(call),
    proxy: (call) => gateways.proxy(call),
    reload() {
      const { logLevel } = currentSettings().config;
      for (const api of all) {
        api.log.level = logLevel;
        api.renewToken();
      }
      gateways = makeGateways();
    },
    async abort() {
      await Promise.all(all.map(({ upstream }) => upstream.close()));
    },
    close,
  };
}

/** The buckets of an API, with what its answers showed of them. */
function snapshotOf({ name, ledger, lessons }: Api): BucketSnapshot[] {
  const learned = new Map<string, { readonly why: string; readonly routes: string[] }>();
  for (const { class: className, route, counters, why } of lessons()) {
    for (const { bucket } of counters) {
      const key = `${className} ${bucket}`;
      const known = learned.get(key) ?? { why, routes: [] };
      learned.set(key, known);
      if (known.routes.length < MAX_ROUTES) known.routes.push(route ?? '*');
    }
  }
  return ledger.snapshot().map((bucket) => {
    const found = learned.get(`${bucket.class} ${counterOf(bucket)}`);
    return Object.assign(
      bucket,
      name === undefined ? {} : { api: name },
      found === undefined ? {} : { learned: found },
    );
  });
}

/** The learned name of a bucket of a class: empty for its own; `undefined` for a stated limit. */
function counterOf({ id, name }: BucketSnapshot): string | undefined {
  if (name === undefined) return '';
  // The name of a bucket for one id follows that of its counter after a `/`.
  return id.endsWith(`~${name}`) ? name.split('/')[0] : undefined;
}

/** How many routes a bucket shows. */
const MAX_ROUTES = 20;

/** What routes need besides the APIs: the checks before them, and the end of calls of none. */
function partsForNoApi(shared: SharedParts, config: Config) {
  const { log, peers, watchReading, memory, recorder, clock } = shared;
  const apis = servedApis(config);
  const forwardedBy = makeForwardedBy(peers, makeIsTrustedProxy(config.trustedProxies));
  const watchUnread = makeWatchUnread({ ...config.body, memory, watchReading });
  const hasToken = apis.some((api) => api.config.token.kind !== 'none');
  const upstreamHosts = new Set(apis.map((api) => new URL(api.config.upstream.origin).host));
  const isOurHost = makeIsOurHost(hostNamesOf(config, apis));
  return {
    isOwnAuthority: makeIsOwnAuthority(upstreamHosts, isOurHost),
    forwardedBy,
    refuse: makeRefuse({
      log,
      watchUnread,
      hasToken,
      credentialFields: apis.flatMap((api) => api.config.credentialFields),
    }),
    record: makeRecord({
      api: undefined,
      recorder,
      ledger: { view: () => undefined },
      clock,
      // The target may be meant for any of them.
      pathMasks: apis.flatMap(({ match, config: { pathMasks, upstream } }) =>
        [match.prefix, upstream.basePath].flatMap((base) => pathMasks.map((mask) => base + mask)),
      ),
      queryMasks: apis.flatMap((api) => api.config.queryMasks),
      credentialName: () => undefined,
    }),
    shedStatus: config.shedStatus,
  };
}
