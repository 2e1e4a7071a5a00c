import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { authorityOf } from '../../http/authority.ts';
import { callerOrigin } from '../../http/caller-origin.ts';
import { isCrossOrigin } from '../../http/origin-check.ts';
import { MAX_TARGET_LENGTH, normaliseTarget, type Target } from '../../http/target.ts';
import type { Call } from '../call.ts';
import { plainAddress } from '../connections/caller-address.ts';
import { GatewayError } from '../problem.ts';
import type { ForwardedBy } from './trusted-proxies.ts';

/** The checks that refuse a request before its caller and budget matter; `identify` runs them. */

/**
 * Makes the check that throws a {@link GatewayError} when a web page may have made a browser send a
 * request.
 *
 * A page whose name was rebound to the gateway's address would be of the gateway's own origin: it
 * could read all answers. So the host is checked for every request, also the one that a trusted
 * proxy reports. Pages of other origins are refused where the configured token is added: a page in
 * an employee's browser must not spend the budget through localhost or the internal network.
 */
export function makeRefusePages(
  isOurHost: (hostField: string | undefined) => boolean,
  forwardedBy: ForwardedBy,
): (incoming: IncomingMessage, addsToken: boolean) => void {
  return (incoming, addsToken) => {
    const { headers, socket } = incoming;
    const forwarded = forwardedBy(incoming);
    const ownOrigin =
      headers.origin === undefined
        ? undefined
        : callerOrigin(headers.host, 'encrypted' in socket, forwarded);
    if (addsToken && isCrossOrigin(headers, ownOrigin)) {
      throw new GatewayError(
        'cross-site',
        'a web page of another site sent this request; pages may not use the configured token',
      );
    }
    if (!isOurHost(headers.host)) throw foreignHost('Host', headers.host);
    if (!isOurHost(forwarded?.host)) throw foreignHost('forwarded host', forwarded?.host);
  };
}

function foreignHost(what: string, got: string | undefined): GatewayError {
  return new GatewayError(
    'foreign-host',
    `expected a ${what} that is a name of this gateway, got ${JSON.stringify(got?.slice(0, 80))}; HEADGATE_HOSTS names further ones`,
  );
}

/**
 * Makes the check that throws a {@link GatewayError} for Transfer-Encoding in an HTTP/1.0 request,
 * and closes its connection (RFC 9112 §6.1). HTTP/1.0 has no transfer codings, so a hop before the
 * gateway may have found another end of the body. Later requests on that connection may therefore
 * be a part of the body, and are refused as well.
 */
export function makeRefuseUncertainFraming(): (call: Call) => void {
  const refused = new WeakSet<Socket>();
  return ({ incoming: { httpVersionMajor, httpVersionMinor, headers, socket }, outgoing }) => {
    const isOld = httpVersionMajor === 1 && httpVersionMinor === 0;
    if (isOld && headers['transfer-encoding'] !== undefined) refused.add(socket);
    else if (!refused.has(socket)) return;
    outgoing.shouldKeepAlive = false;
    throw new GatewayError(
      'bad-request',
      'Transfer-Encoding: expected HTTP/1.1, got an HTTP/1.0 request on this connection',
    );
  };
}

/**
 * Returns the normalised target of a request. Throws a {@link GatewayError} for a request that is
 * not valid HTTP/1, and for one whose host is neither the API nor this gateway.
 */
export function targetOf(
  incoming: IncomingMessage,
  isOwnAuthority: IsOwnAuthority,
): Target & { kind: 'ok' } {
  const { method = 'GET', url = '', socket, httpVersionMajor, httpVersion } = incoming;
  // Node's parser accepts a request line without a version as HTTP/0.9, even with headers.
  if (httpVersionMajor !== 1) {
    throw new GatewayError('bad-request', `expected HTTP/1.1 or HTTP/1.0, got HTTP/${httpVersion}`);
  }
  if (url.length > MAX_TARGET_LENGTH) {
    throw new GatewayError(
      'target-too-long',
      `expected a request target of at most ${MAX_TARGET_LENGTH} characters, got ${url.length}`,
    );
  }
  const target = normaliseTarget(url, {
    method,
    isOurs: (authority) => isOwnAuthority(authority, socket),
  });
  if (target.kind === 'forbidden') throw new GatewayError('forbidden-target', target.reason);
  if (target.kind === 'bad') throw new GatewayError('bad-request', target.reason);
  if (target.path === '*') {
    throw new GatewayError('bad-request', 'OPTIONS * concerns the whole server: expected a path');
  }
  return target;
}

/**
 * The most headers of a request. Each takes memory besides its characters, also while the head of
 * the request arrives, which is counted nowhere: 64 KiB of short headers would take 400 KB. Common
 * servers accept about 100.
 */
export const MAX_HEADERS = 200;

/**
 * Throws a {@link GatewayError} for too many headers, and closes the connection with the answer. Node
 * keeps one more than the limit. Its parser refuses still more, or drops them before Node 24.18.1.
 */
export function refuseManyHeaders({ incoming: { rawHeaders }, outgoing }: Call): void {
  if (rawHeaders.length <= 2 * MAX_HEADERS) return;
  outgoing.shouldKeepAlive = false;
  throw new GatewayError('headers-too-large', `expected at most ${MAX_HEADERS} headers, got more`);
}

/**
 * Throws a {@link GatewayError} for a request to open a WebSocket (RFC 6455 §4.1). As an ordinary
 * request, which is how a server may treat an upgrade that it does not support, it would spend an
 * operation for an answer that its client cannot use. Other upgrades are offers that clients do
 * without: Java's default client offers h2c with every request.
 */
export function refuseWebSocket({ headers: { upgrade } }: IncomingMessage): void {
  if (upgrade === undefined || !WEBSOCKET.test(upgrade)) return;
  throw new GatewayError(
    'websocket-not-supported',
    'Headgate forwards HTTP requests only, and no WebSocket: connect to the API itself for it',
  );
}

const WEBSOCKET = /(?:^|,)\s*websocket\s*(?:,|\/|$)/i;

/**
 * Returns the Authorization value. Throws a {@link GatewayError} for repeated lines of Host,
 * Authorization or one of `credentialFields`, which are in lower case. HTTP forbids a second Host (RFC
 * 9112 §3.2), and Node keeps only the first of several lines: an attacker could show one value to
 * Headgate and another one to the API.
 */
export function authorizationOf(
  { rawHeaders, headers, httpVersionMinor }: IncomingMessage,
  credentialFields: readonly string[],
): string | undefined {
  let hosts = 0;
  let authorizations = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const { length } = rawHeaders[i] ?? '';
    if (length === HOST.length && rawHeaders[i]?.toLowerCase() === HOST) hosts++;
    else if (length === AUTHORIZATION.length && rawHeaders[i]?.toLowerCase() === AUTHORIZATION) {
      authorizations++;
    }
  }
  if (hosts > 1 || (hosts === 0 && httpVersionMinor > 0)) {
    throw new GatewayError('bad-request', `expected one Host header, got ${hosts}`);
  }
  if (authorizations > 1) {
    throw new GatewayError(
      'bad-request',
      `expected one Authorization header, got ${authorizations}`,
    );
  }
  for (const field of credentialFields) {
    // Node joins several lines, so a single value without a comma is one line.
    if (headers[field]?.includes(',') !== true) continue;
    const lines = rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === field);
    if (lines.length > 1) {
      throw new GatewayError('bad-request', `expected one ${field} header, got ${lines.length}`);
    }
  }
  return headers.authorization;
}

const HOST = 'host';
const AUTHORIZATION = 'authorization';

/** Whether the authority of an absolute target names the gateway, on the socket of the request. */
export type IsOwnAuthority = (authority: string, socket: Socket) => boolean;

/**
 * Makes the check of absolute targets. A server must accept them (RFC 9112 §3.2.2), but a client
 * that takes the gateway for a forward proxy sends them for any host. So of the addresses, only the
 * APIs' and the one on which the request arrived pass, and of the names those that pass in `Host`.
 */
export function makeIsOwnAuthority(
  upstreamHosts: ReadonlySet<string>,
  isOurHost: (hostField: string) => boolean,
): IsOwnAuthority {
  return (authority, { localAddress = '', localPort = 0 }) => {
    if (upstreamHosts.has(authority)) return true;
    if (!ADDRESS.test(authority)) return NAME.test(authority) && isOurHost(authority);
    return authority === authorityOf(plainAddress(localAddress), localPort);
  };
}

const ADDRESS = /^(?:\[|\d+\.\d+\.\d+\.\d+(?::|$))/;
/** A name, perhaps with a port: no user information. */
const NAME = /^[a-z0-9._-]+(?::\d{1,5})?$/;
