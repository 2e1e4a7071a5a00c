import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { readableOnly } from '../http/accept-encoding.ts';
import { ensureVersion } from '../http/accept.ts';
import { matchCallerRule, productOf, type CallerRule } from '../queue/caller-rules.ts';
import { classify, type ClassRule } from '../http/classify.ts';
import { parseSecondsOrDuration } from '../util/duration.ts';
import { PRIORITIES, type Priority } from '../queue/fair-queue.ts';
import { MOST_TARGET, normaliseTarget, type Target } from '../http/target.ts';
import { isCrossSite, type SiteFields } from '../http/origin-check.ts';
import type { Ticket } from '../ledger/ledger.ts';
import { toTheApi } from '../http/hop-by-hop.ts';
import { viaOnward } from '../http/via.ts';
import { NO_BODY, type GoneBody, type RequestBody } from '../upstream/body.ts';
import type { Call, CallIdentity } from './call.ts';
import type { CallerOfKey, CredentialHash } from './credentials.ts';
import { GatewayError, type ShedStatus } from './problem.ts';
import type { TakeBody } from './take-body.ts';

/** What a call asks for, once it is understood: everything the rest of the walk needs of it. */
export interface Job {
  readonly call: Call;
  readonly ticket: Ticket;
  readonly method: string;
  /** Path and query as the API gets them, the base path included. */
  readonly target: string;
  /** Name, value, name, value …: the end-to-end headers, without the injected token. */
  readonly headers: string[];
  readonly body: RequestBody;
  /** Whether the caller sent no credential, so that the configured one goes in. */
  readonly addsToken: boolean;
  /** Whether it may be repeated when we cannot know if it was executed (RFC 9110 §9.2.2). */
  readonly idempotent: boolean;
  readonly shedStatus: ShedStatus;
}

/** A job, or the news that the caller left while its body was still coming. */
export type Identified = Job | 'cancelled';

/**
 * Understands a request: who asks, of which budget, how urgently, by when. Throws a
 * {@link GatewayError} that names what was wrong. Answers without a promise unless a body comes.
 */
export type Identify = (call: Call) => Identified | Promise<Identified>;

export interface IdentifyDependencies {
  readonly upstream: { readonly origin: string; readonly basePath: string };
  readonly apiVersion: { readonly version: string; readonly mediaType: string } | 'off';
  /** Whether a token is configured for callers that send none. */
  readonly hasToken: boolean;
  readonly budgetPer: 'credential' | 'upstream';
  readonly classes: readonly ClassRule[];
  readonly callers: readonly CallerRule[];
  readonly defaultCaller: string | undefined;
  readonly maxWaitMs: number;
  readonly shedStatus: ShedStatus;
  readonly takeBody: TakeBody;
  /** Our id for Via; `undefined` leaves the field out. */
  readonly viaId: string | undefined;
  /** Whether answers may have to be read, so that only encodings we know are asked for. */
  readonly readsAnswers: boolean;
  readonly credentialHash: CredentialHash;
  /** Who shows which key; `undefined` when callers need none. */
  readonly callerOfKey: CallerOfKey | undefined;
  /** Whether a Host field is a name of this gateway. */
  readonly isOurHost: (hostField: string | undefined) => boolean;
}

/** Methods that may be repeated when nobody knows whether they were executed (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);
const PRIORITY_NAMES: ReadonlyMap<string, Priority> = new Map(
  PRIORITIES.map((priority) => [priority, priority]),
);
const CALLER_NAME = /^[A-Za-z0-9._/-]{1,64}$/;

export function makeIdentify(dependencies: IdentifyDependencies): Identify {
  const { upstream, apiVersion, hasToken, budgetPer, classes, callers, defaultCaller } =
    dependencies;
  const { maxWaitMs, shedStatus, takeBody, viaId, readsAnswers } = dependencies;
  const { credentialHash, callerOfKey, isOurHost } = dependencies;
  const upstreamHost = new URL(upstream.origin).host;
  /** Ours to replace: the API's host, the version that it wants, what we can read. */
  const replaced = new Set(['host']);
  if (apiVersion !== 'off') replaced.add('accept');
  if (readsAnswers) replaced.add('accept-encoding');

  function bucketPrefix(authorization: string | undefined): string {
    if (budgetPer === 'upstream') return 'upstream';
    if (authorization !== undefined) return credentialHash(authorization);
    return hasToken ? 'own' : 'anonymous';
  }

  function headersFor({ incoming }: Call): string[] {
    const { accept, via, 'accept-encoding': encodings } = incoming.headers;
    const headers = toTheApi(incoming.rawHeaders, replaced);
    if (apiVersion !== 'off') {
      const lines = accept === undefined ? [] : [accept];
      headers.push('Accept', ensureVersion(lines, apiVersion.mediaType, apiVersion.version));
    }
    if (readsAnswers && typeof encodings === 'string') {
      headers.push('Accept-Encoding', readableOnly(encodings));
    }
    if (viaId !== undefined) {
      const onward = viaOnward(via, incoming.httpVersion, viaId);
      if (onward.kind === 'loop') {
        throw new GatewayError('loop', 'the request has been through this gateway before');
      }
      headers.push('Via', onward.value);
    }
    return headers;
  }

  return function identify(call) {
    const { incoming } = call;
    const { method = 'GET', headers, socket } = incoming;
    const target = targetOf(incoming, upstreamHost);
    const identity: CallIdentity = {
      path: target.path,
      query: target.query,
      caller: '',
      priority: undefined,
      bucket: undefined,
    };
    call.identity = identity;
    const authorization = authorizationOf(incoming);

    const address = plainAddress(socket.remoteAddress ?? 'unknown');
    const userAgent = headers['user-agent'];
    identity.caller = address;
    // With keys a caller is who its key says it is, and what it calls itself counts for nothing.
    const known = callerOfKey?.(single(headers, 'headgate-key'));
    const caller =
      known ?? callerName(single(headers, 'headgate-caller'), defaultCaller, userAgent, address);
    identity.caller = caller;
    const rule = matchCallerRule(callers, caller, userAgent);
    const priority = atMost(readPriority(single(headers, 'headgate-priority')), rule?.maxPriority);
    identity.priority = priority;
    const waitMs = Math.min(
      readMaxWait(single(headers, 'headgate-max-wait')) ?? Infinity,
      rule?.maxWaitMs ?? Infinity,
      maxWaitMs,
    );

    const addsToken = hasToken && authorization === undefined;
    if (addsToken) refuseWebPages(headers, isOurHost);
    const className = classify(classes, method, target.path);
    const bucket = { id: `${bucketPrefix(authorization)}:${className}`, class: className };
    identity.bucket = bucket;
    const job: Job & { body: RequestBody } = {
      call,
      ticket: {
        id: call.id,
        bucket,
        owner: known ?? address,
        caller,
        priority,
        weight: rule?.weight ?? 1,
        arrivedAt: call.arrivedAt,
        deadlineAt: call.arrivedAt + waitMs,
      },
      method,
      target: upstream.basePath + target.path + (target.query === '' ? '' : `?${target.query}`),
      headers: headersFor(call),
      addsToken,
      idempotent: IDEMPOTENT.has(method),
      shedStatus: rule?.shedStatus ?? shedStatus,
      body: NO_BODY,
    };

    const body = takeBody(call, address);
    if (body instanceof Promise) return whenRead(job, body);
    job.body = body;
    return job;
  };
}

async function whenRead(
  job: Job & { body: RequestBody },
  reading: Promise<RequestBody | GoneBody>,
): Promise<Identified> {
  const body = await reading;
  if (body.kind === 'gone') return 'cancelled';
  job.body = body;
  return job;
}

/** The header's one value; two lines with the same name are refused rather than guessed at. */
function single(headers: NodeJS.Dict<string | string[]>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function readPriority(value: string | undefined): Priority {
  if (value === undefined) return 'normal';
  const priority = PRIORITY_NAMES.get(value);
  if (priority !== undefined) return priority;
  throw badHeader('Headgate-Priority', 'high, normal or low', value);
}

function readMaxWait(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const waitMs = parseSecondsOrDuration(value);
  if (waitMs !== undefined) return waitMs;
  throw badHeader('Headgate-Max-Wait', 'seconds, or a duration such as 45s', value);
}

/** A rule may cap what a caller claims for itself. */
function atMost(priority: Priority, most: Priority | undefined): Priority {
  if (most === undefined) return priority;
  return PRIORITIES.indexOf(priority) < PRIORITIES.indexOf(most) ? most : priority;
}

/** The header, else the configured name, else the User-Agent's product, else the address. */
function callerName(
  header: string | undefined,
  configured: string | undefined,
  userAgent: string | undefined,
  address: string,
): string {
  if (header !== undefined) {
    if (CALLER_NAME.test(header)) return header;
    throw badHeader('Headgate-Caller', 'at most 64 of A-Z a-z 0-9 . _ / -', header);
  }
  if (configured !== undefined) return configured;
  const product = productOf(userAgent);
  return product !== undefined && CALLER_NAME.test(product) ? product : address;
}

function badHeader(name: string, expected: string, got: string): GatewayError {
  const shown = got.length > 80 ? `${got.slice(0, 80)}…` : got;
  return new GatewayError(
    'bad-request',
    `${name}: expected ${expected}, got ${JSON.stringify(shown)}`,
  );
}

/**
 * Throws a {@link GatewayError} when a web page may have made a browser send this request. Asked
 * for requests that the configured token is added to: a page that some employee looks at must not
 * spend the budget through localhost or the inner network.
 */
function refuseWebPages(
  fields: SiteFields,
  isOurHost: (hostField: string | undefined) => boolean,
): void {
  if (isCrossSite(fields)) {
    throw new GatewayError(
      'cross-site',
      'a web page of another site sent this request; pages may not use the configured token',
    );
  }
  if (isOurHost(fields.host)) return;
  throw new GatewayError(
    'foreign-host',
    `expected a Host that is a name of this gateway, got ${JSON.stringify(fields.host?.slice(0, 80))}; HEADGATE_HOSTS names further ones`,
  );
}

/**
 * What a request asks for, in its normal form. Throws a {@link GatewayError} for what is no request
 * of HTTP/1, and for what is meant for another host than the API or us.
 */
function targetOf(incoming: IncomingMessage, upstreamHost: string): Target & { kind: 'ok' } {
  const { method = 'GET', url = '', socket, httpVersionMajor, httpVersion } = incoming;
  // Node's parser takes a line without a version for HTTP/0.9, with headers and all.
  if (httpVersionMajor !== 1) {
    throw new GatewayError('bad-request', `expected HTTP/1.1 or HTTP/1.0, got HTTP/${httpVersion}`);
  }
  if (url.length > MOST_TARGET) {
    throw new GatewayError(
      'target-too-long',
      `expected a request target of at most ${MOST_TARGET} characters, got ${url.length}`,
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
function authorizationOf({
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
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}
