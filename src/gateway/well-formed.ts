import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { MAX_TARGET_LENGTH, normaliseTarget, type Target } from '../http/target.ts';
import { GatewayError } from './problem.ts';

/**
 * What a request asks for, in its normal form. Throws a {@link GatewayError} for what is no request
 * of HTTP/1, and for what is meant for another host than the API or us.
 */
export function targetOf(incoming: IncomingMessage, upstreamHost: string): Target & { kind: 'ok' } {
  const { method = 'GET', url = '', socket, httpVersionMajor, httpVersion } = incoming;
  // Node's parser takes a line without a version for HTTP/0.9, with headers and all.
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
    isOurs: (authority) => authority === upstreamHost || isLocal(authority, socket),
  });
  if (target.kind === 'forbidden') throw new GatewayError('forbidden-target', target.reason);
  if (target.kind === 'bad') throw new GatewayError('bad-request', target.reason);
  if (target.path === '*') {
    throw new GatewayError('bad-request', 'OPTIONS * asks a whole server: name a path');
  }
  return target;
}

/**
 * The Authorization value. Node keeps the first of several lines and HTTP forbids a second Host
 * (RFC 9112 §3.2): two that differ are two requests, and which one would be sent is for an attacker
 * to choose.
 */
export function authorizationOf({
  rawHeaders,
  headers,
  httpVersionMinor,
}: IncomingMessage): string | undefined {
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
  return headers.authorization;
}

const HOST = 'host';
const AUTHORIZATION = 'authorization';

/** Whether an authority is the address at which this request came in. */
function isLocal(authority: string, { localAddress = '', localPort }: Socket): boolean {
  const address = plainAddress(localAddress);
  const host = address.includes(':') ? `[${address}]` : address;
  return authority === `${host}:${localPort}` || authority === `localhost:${localPort}`;
}

/** IPv4 in IPv6 clothing is the same address. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}
