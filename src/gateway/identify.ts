import { decodableOnly, ensureVersion } from '../http/accept.ts';
import { matchCallerRule, productOf, type CallerRule } from '../queue/caller-rules.ts';
import { classify, type ClassRule } from '../http/classify.ts';
import { parseSecondsOrDuration } from '../util/duration.ts';
import { PRIORITIES, type Priority } from '../queue/fair-queue.ts';
import { headersForApi } from '../http/hop-by-hop.ts';
import { viaOnward } from '../http/via.ts';
import type { Call } from './call.ts';
import type { CallerOfKey } from './caller-keys.ts';
import type { CredentialHash } from './credential.ts';
import type { Job } from './job.ts';
import { GatewayError, type ShedStatus } from './problem.ts';
import type { RefuseWebPages } from './same-site.ts';
import type { TakeBody } from './take-body.ts';
import { authorizationOf, plainAddress, targetOf } from './well-formed.ts';

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
  readonly refuseWebPages: RefuseWebPages;
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
  const { credentialHash, callerOfKey, refuseWebPages } = dependencies;
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
    const headers = headersForApi(incoming.rawHeaders, replaced);
    if (apiVersion !== 'off') {
      const lines = accept === undefined ? [] : [accept];
      headers.push('Accept', ensureVersion(lines, apiVersion.mediaType, apiVersion.version));
    }
    if (readsAnswers && typeof encodings === 'string') {
      headers.push('Accept-Encoding', decodableOnly(encodings));
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
    call.path = target.path;
    call.query = target.query;
    const authorization = authorizationOf(incoming);

    const address = plainAddress(socket.remoteAddress ?? 'unknown');
    const userAgent = headers['user-agent'];
    call.caller = address;
    // With keys a caller is who its key says it is, and what it calls itself counts for nothing.
    const known = callerOfKey?.(single(headers, 'headgate-key'));
    const caller =
      known ?? callerName(single(headers, 'headgate-caller'), defaultCaller, userAgent, address);
    call.caller = caller;
    const rule = matchCallerRule(callers, caller, userAgent);
    const priority = atMost(readPriority(single(headers, 'headgate-priority')), rule?.maxPriority);
    call.priority = priority;
    const waitMs = Math.min(
      readMaxWait(single(headers, 'headgate-max-wait')) ?? Infinity,
      rule?.maxWaitMs ?? Infinity,
      maxWaitMs,
    );

    const takesToken = hasToken && authorization === undefined;
    if (takesToken) refuseWebPages(headers);
    const className = classify(classes, method, target.path);
    call.class = className;
    call.bucket = `${bucketPrefix(authorization)}:${className}`;
    const job: Omit<Job, 'body'> = {
      call,
      ticket: {
        id: call.id,
        bucket: { id: call.bucket, class: className },
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
      takesToken,
      idempotent: IDEMPOTENT.has(method),
      shedStatus: rule?.shedStatus ?? shedStatus,
    };

    const body = takeBody(call, address);
    if (!(body instanceof Promise)) return { ...job, body };
    return body.then((read) => (read.kind === 'gone' ? 'cancelled' : { ...job, body: read }));
  };
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
