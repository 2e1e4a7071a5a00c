import { isLoopback } from '../http/origin-check.ts';
import type { ApiConfig } from './api-config.ts';
import { tlsPaths } from './pem-files.ts';
import type { SettingReader } from './setting-reader.ts';
import { SETTINGS } from './settings.ts';
import type { HostAddress } from './values.ts';

/** The proxy for clients with a fixed address, and for which hosts it answers itself. */
export interface InterceptConfig {
  /** Each is the host of an API's URL, in lower case. */
  readonly hosts: readonly string[];
  readonly listen: HostAddress;
  /** The files of the authority. */
  readonly ca: { readonly cert: string; readonly key: string };
  /** What becomes of a CONNECT to another host. */
  readonly others: 'refuse' | 'tunnel';
}

type InterceptedApi = Pick<ApiConfig, 'upstream'>;

/** Reads the settings of the proxy; `undefined`: there is none. `apis` are those that are served. */
export function readIntercept(
  { optional, required }: SettingReader,
  apis: readonly InterceptedApi[],
  readFile: (path: string) => string,
  problems: string[],
): InterceptConfig | undefined {
  const hosts = optional(SETTINGS.intercept);
  const listen = required(SETTINGS.interceptListen);
  const others = required(SETTINGS.interceptOthers);
  const cert = optional(SETTINGS.interceptCaCert);
  const key = optional(SETTINGS.interceptCaKey);
  const ca = tlsPaths('HEADGATE_INTERCEPT_CA', cert, key, readFile, problems);
  if (hosts === undefined) {
    if (ca !== undefined) {
      problems.push(
        `HEADGATE_INTERCEPT: expected ${SETTINGS.intercept.kind.expected}, because HEADGATE_INTERCEPT_CA_CERT is set; got nothing`,
      );
    }
    return undefined;
  }
  if (cert === undefined && key === undefined) {
    problems.push(
      `HEADGATE_INTERCEPT_CA_CERT: expected a file, because HEADGATE_INTERCEPT is set; got nothing. headgate ca init --hosts ${hosts.join(',')} makes one`,
    );
  }
  problems.push(...hosts.flatMap((host) => hostProblem(host, apis) ?? []));
  problems.push(...apis.flatMap((api) => proxyProblem(listen, api) ?? []));
  return ca === undefined ? undefined : { hosts, listen, ca, others };
}

/** Paths that the routes compare as they are. */
const ROUTABLE = /^(?:\/[A-Za-z0-9._~-]+)*\/?$/;

/**
 * What is wrong with an intercepted host. Its requests go to the API whose URL has this host, so that
 * a credential reaches no other origin than the one that its client meant.
 */
function hostProblem(host: string, apis: readonly InterceptedApi[]): string | undefined {
  const urls = apis.map(({ upstream }) => URL.parse(upstream.origin + upstream.basePath));
  const own = urls.filter((url) => url?.hostname === host);
  const problem = (expected: string, got: string): string =>
    `HEADGATE_INTERCEPT: expected ${expected}, got ${host}${got}`;
  if (own.length === 0) {
    const known = urls.map((url) => url?.hostname ?? '').join(', ');
    return problem('hosts of the URLs of APIs', `; the APIs are at ${known}`);
  }
  if (own.some((url) => url?.protocol !== 'https:')) {
    return problem('hosts of https URLs', ', whose API would get the requests in cleartext');
  }
  if (own.some((url) => !ROUTABLE.test(url?.pathname ?? ''))) {
    return problem('hosts of URLs whose path has letters, digits, . _ ~ and - alone', '');
  }
  const ports = new Set(own.map((url) => url?.port));
  const paths = new Set(own.map((url) => url?.pathname));
  if (ports.size > 1 || paths.size < own.length) {
    return problem('hosts with one API for each path', ', which is that of several');
  }
  return undefined;
}

/** Whether the proxy on the way to an API is the gateway itself. */
function proxyProblem(
  listen: HostAddress,
  { upstream: { proxy } }: InterceptedApi,
): string | undefined {
  if (proxy === undefined) return undefined;
  const { hostname, port } = new URL(proxy.origin);
  const host = hostname.replaceAll(/[[\]]/g, '');
  const isOwn = host === listen.host || (isLoopback(host) && isReachedByLoopback(listen.host));
  if (!isOwn || Number(port) !== listen.port) return undefined;
  return `HEADGATE_INTERCEPT_LISTEN: expected another address than the proxy to the API, because Headgate would call itself; got ${proxy.origin} for both`;
}

function isReachedByLoopback(host: string): boolean {
  return isLoopback(host) || host === '0.0.0.0' || host === '::';
}
