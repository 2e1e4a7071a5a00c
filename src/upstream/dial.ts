import { request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { buildConnector } from 'undici';
import { authorityOf } from '../http/authority.ts';
import type { ProxyAddress } from '../http/proxy.ts';
import type { Clock } from '../util/clock.ts';
import { ProxyRefusalError } from './connect-failure.ts';
import { addressesOf, raceConnections, type RaceOptions } from './connection-race.ts';
import { makeLenient, type SocketLimits } from './lenient-socket.ts';

/** Where to connect to, instead of the address that the API's name resolves to. */
export interface DialAddress {
  readonly host: string;
  /** `undefined`: the port of the API's URL. */
  readonly port: number | undefined;
}

export interface DialOptions {
  readonly origin: string;
  readonly address: DialAddress | undefined;
  readonly proxy: ProxyAddress | undefined;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca: string | undefined;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly socketLimits: { readonly maxAgeMs: number; readonly maxRequests: number };
}

/** How the API is reached: the origin and connector for the pool, and additions to each request. */
export interface Dial {
  readonly origin: string;
  readonly connect: buildConnector.connector;
  /** Precedes each path: an HTTP proxy requires the whole URL (RFC 9112 §3.2.2). */
  readonly pathPrefix: string;
  /** Added to each request: name, value, name, value … */
  readonly headers: readonly string[];
}

/**
 * Decides how to connect to the API. Host, the expected certificate name and SNI are always those
 * of the API's URL, whatever address is dialled. An https API behind a proxy is reached through a
 * tunnel, so the proxy sees no request. Requests to an http API are sent to the proxy.
 */
export function makeDial(options: DialOptions): Dial {
  const { origin, address, proxy, ca, timeoutMs, clock, socketLimits } = options;
  const url = new URL(origin);
  const base = buildConnector({
    allowH2: false,
    timeout: timeoutMs,
    ...(ca === undefined ? {} : { ca }),
  });
  const connector = lenient(racing(base, { clock, timeoutMs }), { ...socketLimits, clock });
  const hostname = address?.host ?? url.hostname.replaceAll(/[[\]]/g, '');
  const port = String(address?.port ?? (url.port || (url.protocol === 'https:' ? 443 : 80)));
  if (proxy === undefined) {
    const connect: buildConnector.connector =
      address === undefined
        ? connector
        : (to, callback) => connector({ ...to, hostname, port }, callback);
    return { origin, connect, pathPrefix: '', headers: [] };
  }
  if (url.protocol === 'http:') {
    const authority = address === undefined ? url.host : authorityOf(hostname, port);
    const { authorization } = proxy;
    return {
      origin: proxy.origin,
      connect: connector,
      pathPrefix: `http://${authority}`,
      headers: [
        'Host',
        url.host,
        ...(authorization === undefined ? [] : ['Proxy-Authorization', authorization]),
      ],
    };
  }
  const tunnel = { proxy, authority: authorityOf(hostname, port), timeoutMs };
  return {
    origin,
    connect(to, callback) {
      openTunnel(tunnel, (opened) => {
        if (opened instanceof Error) callback(opened, null);
        else connector({ ...to, httpSocket: opened }, callback);
      });
    },
    pathPrefix: '',
    headers: [],
  };
}

/** Makes each socket accept what common clients accept of an answer, and end after its time. */
function lenient(
  connector: buildConnector.connector,
  limits: SocketLimits,
): buildConnector.connector {
  return (options, callback) => {
    connector(options, (error, socket) => {
      if (error !== null) return callback(error, null);
      makeLenient(socket, limits);
      callback(null, socket);
    });
  };
}

/** Tries all addresses of a name, where the connector would cancel each slow attempt for the next. */
function racing(connector: buildConnector.connector, race: RaceOptions): buildConnector.connector {
  return (options, callback) => {
    const { hostname, httpSocket, protocol } = options;
    if (httpSocket !== undefined && httpSocket !== null) return connector(options, callback);
    addressesOf(hostname, (failed, addresses) => {
      if (failed !== null) return callback(failed, null);
      if (addresses.length < 2) return connector(options, callback);
      const isTls = protocol === 'https:';
      const port = Number(options.port || (isTls ? 443 : 80));
      raceConnections(addresses, port, race, (opened) => {
        if (opened instanceof Error) callback(opened, null);
        else if (isTls) connector({ ...options, httpSocket: opened }, callback);
        else callback(null, opened);
      });
    });
  };
}

interface TunnelOptions {
  readonly proxy: ProxyAddress;
  readonly authority: string;
  readonly timeoutMs: number;
}

/** Requests a tunnel to `authority` from the proxy (RFC 9110 §9.3.6). Calls `callback` once. */
function openTunnel(
  { proxy, authority, timeoutMs }: TunnelOptions,
  callback: (opened: Socket | Error) => void,
): void {
  const { protocol, hostname, port } = new URL(proxy.origin);
  const { authorization } = proxy;
  const connectRequest = (protocol === 'https:' ? tlsRequest : request)({
    method: 'CONNECT',
    host: hostname.replaceAll(/[[\]]/g, ''),
    port: port === '' ? (protocol === 'https:' ? 443 : 80) : port,
    path: authority,
    agent: false,
    timeout: timeoutMs,
    headers: {
      host: authority,
      ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
    },
  });
  // Node emits `connect` for every answer to CONNECT, whatever its status.
  connectRequest.once('connect', ({ statusCode = 0 }, socket, head) => {
    connectRequest.off('error', callback);
    if (statusCode >= 200 && statusCode < 300 && head.length === 0) {
      callback(socket);
      return;
    }
    socket.on('error', () => undefined).destroy();
    callback(new ProxyRefusalError(statusCode, `CONNECT ${authority}`));
  });
  connectRequest.once('timeout', () =>
    connectRequest.destroy(new Error('the proxy did not answer in time')),
  );
  connectRequest.once('error', callback);
  connectRequest.end();
}
