import { request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { buildConnector } from 'undici';
import type { ProxyAddress } from '../http/proxy.ts';

/** Where to connect instead of where the API's name points to. */
export interface DialAddress {
  readonly host: string;
  /** `undefined`: the port that the API's URL names. */
  readonly port: number | undefined;
}

export interface DialOptions {
  readonly origin: string;
  readonly address: DialAddress | undefined;
  readonly proxy: ProxyAddress | undefined;
  /** Certificates to trust instead of the usual ones, PEM. */
  readonly ca: string | undefined;
  readonly timeoutMs: number;
}

/** How the API is reached: what the pool connects to, how, and what each request says for it. */
export interface Dial {
  readonly origin: string;
  readonly connect: buildConnector.connector;
  /** Put before each path: an HTTP proxy wants the whole URL (RFC 9112 §3.2.2). */
  readonly pathPrefix: string;
  /** Sent with each request, name, value, name, value … */
  readonly headers: readonly string[];
}

/**
 * Works out the way to the API. The address that is dialled never shows: Host, the certificate's
 * name and SNI stay those of the API's URL. Through a proxy an https API is reached by a tunnel, so
 * that the proxy sees no request; an http API is asked for by the proxy.
 */
export function makeDial({ origin, address, proxy, ca, timeoutMs }: DialOptions): Dial {
  const url = new URL(origin);
  const connector = buildConnector({
    allowH2: false,
    timeout: timeoutMs,
    ...(ca === undefined ? {} : { ca }),
  });
  const hostname = address?.host ?? url.hostname.replaceAll(/[[\]]/g, '');
  const port = String(address?.port ?? (url.port || (url.protocol === 'https:' ? 443 : 80)));
  if (proxy === undefined) {
    const connect: buildConnector.connector =
      address === undefined
        ? connector
        : (options, callback) => connector({ ...options, hostname, port }, callback);
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
    connect(options, callback) {
      openTunnel(tunnel, (opened) => {
        if (opened instanceof Error) callback(opened, null);
        else connector({ ...options, httpSocket: opened }, callback);
      });
    },
    pathPrefix: '',
    headers: [],
  };
}

interface TunnelOptions {
  readonly proxy: ProxyAddress;
  readonly authority: string;
  readonly timeoutMs: number;
}

/** Asks the proxy for a connection to `authority` (RFC 9110 §9.3.6); tells once what came of it. */
function openTunnel(
  { proxy, authority, timeoutMs }: TunnelOptions,
  tell: (opened: Socket | Error) => void,
): void {
  const { protocol, hostname, port } = new URL(proxy.origin);
  const { authorization } = proxy;
  const ask = (protocol === 'https:' ? tlsRequest : request)({
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
  // Node hands over every answer to CONNECT here, whatever its status.
  ask.once('connect', ({ statusCode = 0 }, socket, head) => {
    ask.off('error', tell);
    if (statusCode >= 200 && statusCode < 300 && head.length === 0) {
      tell(socket);
      return;
    }
    socket.on('error', () => undefined).destroy();
    tell(new Error(`the proxy answered ${statusCode} to CONNECT ${authority}`));
  });
  ask.once('timeout', () => ask.destroy(new Error('the proxy did not answer in time')));
  ask.once('error', tell);
  ask.end();
}

function authorityOf(host: string, port: string): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
