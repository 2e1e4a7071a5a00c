import { Hono } from 'hono';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { isBelow, removePrefix, type RelativeTarget } from '../http/target.ts';
import { identityOf, type Call } from './call.ts';
import type { Pipeline } from './gateway.ts';
import { GatewayError, type ShedStatus } from './problem.ts';
import type { RecordCall } from './record.ts';
import {
  makeRefuseUncertainFraming,
  targetOf,
  type IsOwnAuthority,
} from './identify/request-checks.ts';
import type { Refuse } from './respond.ts';
import type { ForwardedBy } from './identify/trusted-proxies.ts';

/** Handles one call from its arrival to its log line. Never rejects. */
export type Gateway = (call: Call) => Promise<void>;

/** What an application gets with each request: the call, and what it has understood of it. */
interface RoutedCall {
  readonly call: Call;
  readonly target: RelativeTarget;
  /** `/`, the host, and the beginning of the normalised path. */
  readonly route: string;
}

type CallerApp = Hono<{ Bindings: RoutedCall }>;

const MAX_SHOWN = 80;

/** The requests of one API, and the pipeline that serves them. */
export interface ApiRoute {
  /** Host names in lower case, without ports; empty: any host. */
  readonly hosts: readonly string[];
  /** Such as `/v4`; empty: any path. It stands for the API's base URL, and is not sent. */
  readonly prefix: string;
  readonly pipeline: Pipeline;
}

/**
 * Returns the host that a request is for. Throws a {@link GatewayError}, at once or later, for one that
 * may not be served.
 */
export type HostOf = (call: Call) => string | undefined | Promise<string | undefined>;

export interface RoutesDependencies {
  readonly apis: readonly ApiRoute[];
  readonly isOwnAuthority: IsOwnAuthority;
  readonly forwardedBy: ForwardedBy;
  /** Replaces the rule for the host that a request is for. */
  readonly hostOf?: HostOf;
  /** For calls that belong to no API. */
  readonly refuse: Refuse;
  readonly record: RecordCall;
  readonly shedStatus: ShedStatus;
}

/**
 * The request of every call, as far as Hono is concerned: its method and its address are not read.
 * The routes depend on {@link RoutedCall} alone, so no request has to be made for a call.
 */
const ANY_REQUEST = new Request('http://headgate/');

/**
 * Makes the callers' side: a Hono application whose routes are the APIs, by host and path prefix, and
 * whose handlers are their pipelines (docs/decisions/0044).
 *
 * The application gets only calls that it cannot refuse by itself: their framing and their target
 * are valid, and the path is normalised. A call that no route matches is refused like any other. So
 * every call has its log line, and the pipeline alone writes answers. A single API that serves every
 * host and path needs no route.
 */
export function makeRoutes(dependencies: RoutesDependencies): Gateway {
  const { apis, isOwnAuthority, forwardedBy, refuse, record, shedStatus } = dependencies;
  const { hostOf = makeHostOf(forwardedBy) } = dependencies;
  const refuseUncertainFraming = makeRefuseUncertainFraming();
  const depth = Math.max(...apis.map(({ prefix }) => prefix.split('/').length - 1));
  const app: CallerApp = new Hono({ getPath: (_request, options) => routeOf(options?.env) });
  for (const { path, api } of inOrder(apis)) app.route(path, apiApp(api));
  // A rule of its own for hosts may refuse a request.
  const only = dependencies.hostOf === undefined ? pipelineForAll(apis) : undefined;
  app.notFound(({ env: { call } }) => {
    end(call, noRoute(call));
    return RESPONSE_ALREADY_SENT;
  });

  /** Ends a call that belongs to no API, or is not understood so far. */
  function end(call: Call, error: unknown): void {
    const how = refuse(call, error, shedStatus);
    call.releaseMemory();
    record(call, how);
  }

  async function route(call: Call, target: RelativeTarget): Promise<void> {
    let host: string | undefined;
    try {
      const found = hostOf(call);
      host = found instanceof Promise ? await found : found;
    } catch (error) {
      end(call, error);
      return;
    }
    const routed = `/${hostName(host)}${firstSegments(target.path, depth)}`;
    await app.fetch(ANY_REQUEST, { call, target, route: routed });
  }

  return function gateway(call) {
    const { incoming } = call;
    let target: RelativeTarget;
    try {
      refuseUncertainFraming(call);
      target = targetOf(incoming, isOwnAuthority);
      call.identity = identityOf(target);
      if (!isBelow(target.path, call.prefix)) throw noRoute(call);
    } catch (error) {
      end(call, error);
      return Promise.resolve();
    }
    target = removePrefix(target, call.prefix);
    return only === undefined ? route(call, target) : only(call, target);
  };
}

/** The pipeline of a single API that serves every host and path, so that nothing has to be routed. */
function pipelineForAll([api, ...others]: readonly ApiRoute[]): Pipeline | undefined {
  const isForAll = others.length === 0 && api?.hosts.length === 0 && api.prefix === '';
  return isForAll ? api.pipeline : undefined;
}

/** The application of one API. */
function apiApp({ prefix, pipeline }: ApiRoute): CallerApp {
  return new Hono<{ Bindings: RoutedCall }>().all('*', async ({ env: { call, target } }) => {
    call.prefix += prefix;
    await pipeline(call, removePrefix(target, prefix));
    return RESPONSE_ALREADY_SENT;
  });
}

function noRoute(call: Call): GatewayError {
  const { host = '' } = call.incoming.headers;
  const got = `${JSON.stringify(host.slice(0, MAX_SHOWN))} and ${call.identity.path.slice(0, MAX_SHOWN)}`;
  return new GatewayError(
    'no-route',
    `expected the host and the path of an API of this gateway, got ${got}`,
  );
}

function routeOf(routed: RoutedCall | undefined): string {
  return routed?.route ?? '/';
}

/** The routes of the APIs: a host before any host, and a longer prefix before a shorter one. */
function inOrder(apis: readonly ApiRoute[]): { readonly path: string; readonly api: ApiRoute }[] {
  return apis
    .flatMap((api) =>
      api.hosts.length === 0
        ? [{ isAny: 1, path: `/:host${api.prefix}`, api }]
        : api.hosts.map((host) => ({ isAny: 0, path: `/${host}${api.prefix}`, api })),
    )
    .toSorted(
      (one, other) => one.isAny - other.isAny || other.api.prefix.length - one.api.prefix.length,
    );
}

/**
 * The part of a path on which the routes depend: as many segments as the longest prefix has. A router
 * takes a millisecond for the thousands of segments that a path may have.
 */
function firstSegments(path: string, count: number): string {
  let at = 0;
  for (let left = count; left > 0 && at !== -1; left--) at = path.indexOf('/', at + 1);
  return at === -1 ? path : path.slice(0, at + 1);
}

const AUTHORITY = /^[a-z]+:\/\/([^/?#]*)/i;

/** The host that a trusted proxy reports, else that of the request. */
function makeHostOf(forwardedBy: ForwardedBy): HostOf {
  return ({ incoming }) =>
    forwardedBy(incoming)?.host ?? authorityOf(incoming.url) ?? incoming.headers.host;
}

/** The authority of an absolute target, which counts instead of the Host field (RFC 9112 §3.2.2). */
function authorityOf(url = ''): string | undefined {
  return url.startsWith('/') ? undefined : AUTHORITY.exec(url)?.[1];
}

/** Stands for a host that no API can have. */
const NO_HOST = '-';

/** The name in a Host field, in lower case and without a port. */
function hostName(field: string | undefined): string {
  const [, name] = HOST_NAME.exec(field?.toLowerCase() ?? '') ?? [];
  return name ?? NO_HOST;
}

const HOST_NAME = /^([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9.]+|\[[0-9a-f:.]+\])\.?(?::\d*)?$/;
