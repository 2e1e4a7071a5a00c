import { parseSecondsOrDuration } from '../util/duration.ts';
import { decodableOnly, ensureVersion, type VersionRequest } from '../http/accept.ts';
import type { AuthThrottle } from '../http/auth-throttle.ts';
import { makeClassify, type ClassRule } from '../http/classify.ts';
import { credentialOf } from '../http/credential-fields.ts';
import { MAX_COST } from '../http/cost-rule.ts';
import type { LearnedDraws } from '../draws/learned-draws.ts';
import type { LearnedDraw } from '../draws/lesson.ts';
import { readUrgency } from '../http/priority.ts';
import { makeHeadersForApi } from '../http/header-filter.ts';
import { isIdempotent } from '../http/methods.ts';
import type { RelativeTarget } from '../http/target.ts';
import { viaOnward } from '../http/via.ts';
import { matchCallerRule, productOf, treatsCalls, type CallerRule } from '../queue/caller-rules.ts';
import { longestWaitMs } from '../queue/patience.ts';
import { PRIORITIES, type Priority } from '../queue/flow.ts';
import type { Ticket } from '../ledger/ledger.ts';
import type { RequestBody } from '../upstream/body.ts';
import type { CallLimits } from './call-limits.ts';
import type { Call, CallIdentity } from './call.ts';
import { withQuota, type QuotaOf } from './caller-quota.ts';
import type { ClientPatience } from './client-patience.ts';
import { makeCostOf, ticketFor, type CostOf, type DrawsOf } from './draws.ts';
import { refuseUnknownKey, type CallerOfKey } from './credentials.ts';
import { isPreflight } from './preflight.ts';
import { restoreTags } from './link-rewrite.ts';
import type { ProxyKeys } from './proxy-keys.ts';
import { GatewayError, type ShedStatus } from './problem.ts';
import {
  authorizationOf,
  makeRefusePages,
  refuseManyHeaders,
  refuseWebSocket,
} from './request-checks.ts';
import type { TakeBody } from './take-body.ts';
import type { CallerAddress, ForwardedBy } from './trusted-proxies.ts';

/** An identified request: everything that the later steps of the pipeline need. */
export interface Job {
  readonly call: Call;
  /** Replaced when the API's answer shows that the request spends from other buckets. */
  ticket: Ticket;
  readonly rule: ClassRule;
  readonly credential: string | undefined;
  /** What stands for the class's own bucket in the ticket. */
  learned: readonly LearnedDraw[] | undefined;
  readonly costOf: CostOf;
  readonly method: string;
  /** Path and query for the API, with the base path. */
  readonly target: string;
  /** The end-to-end headers for the API without the token: name, value, name, value … */
  readonly headers: string[];
  readonly body: RequestBody;
  /** Whether the configured token is added, because the caller sent no credential. */
  readonly addsToken: boolean;
  /**
   * Whether cookies are dropped from the request and from the answer: a session that the API opens
   * for the configured token must not reach a caller, nor a caller's session meet the token.
   */
  readonly dropsCookies: boolean;
  /** Whether the credential authenticates the connection, so that the socket serves this job only. */
  readonly authenticatesSocket: boolean;
  /**
   * Whether the request may be repeated although the API may have executed it (RFC 9110 §9.2.2).
   */
  readonly idempotent: boolean;
  /** Whether it neither waits for a budget nor spends one. */
  readonly isPreflight: boolean;
  readonly shedStatus: ShedStatus;
}

/** `cancelled`: the call was gone before its body was complete. */
export type Identified = Job | 'cancelled';

/**
 * Identifies a request: its caller, bucket, priority and deadline, and what is sent to the API.
 * Throws a {@link GatewayError} for a bad request. Returns without a promise unless a body has to
 * be read.
 */
export type Identify = (call: Call, target: RelativeTarget) => Identified | Promise<Identified>;

export interface IdentifyDependencies {
  readonly upstream: { readonly origin: string; readonly basePath: string };
  readonly apiVersion: VersionRequest | 'off';
  /** Lower-case names of the fields besides Authorization that hold a credential. */
  readonly credentialFields: readonly string[];
  /** Whether a token is configured for requests without a credential. */
  readonly hasToken: boolean;
  /** `on`: cookies pass also with the configured token. */
  readonly cookies: 'on' | 'off';
  /** Lower-case names of request fields that pass although they are usually dropped. */
  readonly allowHeaders: readonly string[];
  readonly drawsOf: DrawsOf;
  readonly learned: Pick<LearnedDraws, 'drawsOf'>;
  readonly classes: readonly ClassRule[];
  readonly callers: readonly CallerRule[];
  /** Absent where no caller has a quota. */
  readonly quotaOf?: QuotaOf | undefined;
  readonly defaultCaller: string | undefined;
  readonly maxWaitMs: number;
  /** Absent: clients' timeouts are not learned. */
  readonly clientPatience?: Pick<ClientPatience, 'at'> | undefined;
  readonly shedStatus: ShedStatus;
  readonly takeBody: TakeBody;
  readonly callLimits: CallLimits;
  /** The id of this gateway in Via; `undefined` omits the field. */
  readonly viaId: string | undefined;
  /**
   * Whether bodies of answers are read, so that only encodings that Headgate can decode are
   * requested.
   */
  readonly readsAnswers: boolean;
  /** `undefined` when callers need no key. */
  readonly callerOfKey: CallerOfKey | undefined;
  /** The keys that callers sent to the proxy; `undefined` where there is none. */
  readonly proxyKeys: ProxyKeys | undefined;
  /** Slows clients with unknown keys. */
  readonly authThrottle: AuthThrottle;
  /** Whether a Host field is a name of this gateway. */
  readonly isOurHost: (hostField: string | undefined) => boolean;
  readonly forwardedBy: ForwardedBy;
  readonly callerAddress: CallerAddress;
}

const PRIORITY_NAMES: ReadonlyMap<string, Priority> = new Map(
  PRIORITIES.map((priority) => [priority, priority]),
);
const CALLER_NAME = /^[A-Za-z0-9._/-]{1,64}$/;
/**
 * Schemes that authenticate the connection and not the request: Microsoft's NTLM, and Negotiate
 * (RFC 4559). Servers take each later request on that connection for one of the same user.
 */
const CONNECTION_AUTH = /^(?:ntlm|negotiate)(?: |$)/i;

/** A server that supports TRACE answers with the request itself (RFC 9110 §9.3.8). */
const TRACE_DETAIL =
  'TRACE is not supported: the answer would show the fields that Headgate adds, such as its token';

export function makeIdentify(dependencies: IdentifyDependencies): Identify {
  const { upstream, apiVersion, hasToken, classes, callers, defaultCaller } = dependencies;
  const { maxWaitMs, clientPatience, shedStatus, takeBody, viaId, readsAnswers, cookies } =
    dependencies;
  const { callerOfKey, isOurHost, forwardedBy, allowHeaders } = dependencies;
  const { callLimits, authThrottle, callerAddress, credentialFields, proxyKeys } = dependencies;
  const { drawsOf, quotaOf, learned } = dependencies;
  const rules = callers.filter(treatsCalls);
  /** Fields of the caller's request that Headgate replaces. */
  const replaced = new Set(['host']);
  if (apiVersion !== 'off' && apiVersion.kind === 'accept') replaced.add('accept');
  if (readsAnswers) replaced.add('accept-encoding');
  const endToEnd = makeHeadersForApi({ replaced, allowed: allowHeaders });
  const withoutCookies = makeHeadersForApi({
    replaced: [...replaced, 'cookie'],
    allowed: allowHeaders,
  });
  const refusePages = makeRefusePages(isOurHost, forwardedBy);
  const classify = makeClassify(classes);

  function headersFor({ incoming }: Call, addsToken: boolean, dropsCookies: boolean): string[] {
    const { accept, via, authorization, 'accept-encoding': encodings } = incoming.headers;
    const headers = (dropsCookies ? withoutCookies : endToEnd)(incoming.rawHeaders);
    if (addsToken && authorization !== undefined) removeField(headers, 'authorization');
    if (apiVersion !== 'off' && apiVersion.kind === 'field') {
      const { name, version } = apiVersion;
      if (incoming.headers[name.toLowerCase()] === undefined) headers.push(name, version);
    } else if (apiVersion !== 'off') {
      const lines = accept === undefined ? [] : [accept];
      headers.push('Accept', ensureVersion(lines, apiVersion.mediaType, apiVersion.version));
    }
    if (readsAnswers) {
      restoreTags(headers, incoming);
      if (typeof encodings === 'string') {
        headers.push('Accept-Encoding', decodableOnly(encodings));
      }
    }
    if (viaId !== undefined) {
      const onward = viaOnward(via, incoming.httpVersion, viaId);
      if (onward.kind === 'loop') {
        throw new GatewayError('loop', 'the request has passed through this gateway before');
      }
      headers.push('Via', onward.value);
    }
    return headers;
  }

  return function identify(call, target) {
    const { incoming } = call;
    const { method = 'GET', headers } = incoming;
    const identity: CallIdentity = {
      path: target.path,
      query: target.query,
      caller: '',
      priority: undefined,
      bucket: undefined,
      cost: undefined,
      patienceMs: undefined,
    };
    call.identity = identity;
    refuseManyHeaders(call);
    const authorization = authorizationOf(incoming, credentialFields);
    // A client with an empty token sends a scheme alone, which is no credential.
    const credential = credentialOf(headers, credentialFields);

    const address = callerAddress(incoming);
    const userAgent = headers['user-agent'];
    identity.caller = address;
    // With keys configured, the key alone decides the caller's name.
    const keyOwner = callerOfKey?.(
      headerValue(headers, 'headgate-key') ?? proxyKeys?.keyOf(incoming),
    );
    if (callerOfKey !== undefined && keyOwner === undefined) {
      return refuseUnknownKey(call, address, authThrottle);
    }
    const caller =
      keyOwner ??
      callerName(headerValue(headers, 'headgate-caller'), defaultCaller, userAgent, address);
    identity.caller = caller;
    if (method === 'TRACE') throw new GatewayError('method-not-supported', TRACE_DETAIL);
    refuseWebSocket(incoming);
    const owner = keyOwner ?? address;
    callLimits.enter(owner);
    call.countedFor = owner;
    const rule = matchCallerRule(rules, caller, userAgent);
    const priority = capPriority(
      readPriority(headerValue(headers, 'headgate-priority')) ??
        readUrgency(headerValue(headers, 'priority')) ??
        'normal',
      rule?.maxPriority,
    );
    identity.priority = priority;
    const statedMs = readMaxWait(headerValue(headers, 'headgate-max-wait'));
    let waitMs = Math.min(statedMs ?? Infinity, rule?.maxWaitMs ?? Infinity, maxWaitMs);
    if (clientPatience !== undefined && statedMs === undefined) {
      const patienceMs = clientPatience.at(call.arrivedAt, owner, caller, userAgent);
      if (patienceMs !== undefined && longestWaitMs(patienceMs) < waitMs) {
        waitMs = longestWaitMs(patienceMs);
        identity.patienceMs = patienceMs;
      }
    }

    const addsToken = hasToken && credential === undefined;
    refusePages(incoming, addsToken);
    const dropsCookies = addsToken && cookies === 'off';
    const classRule = classify(method, target.path);
    const learnedDraws = learned.drawsOf(classRule.name, method, target.path);
    const draws = drawsOf(classRule, credential, learnedDraws);
    const stated = readCost(headerValue(headers, 'headgate-cost'));
    identity.bucket = draws[0].bucket;
    if (draws.length > 1) identity.others = draws.slice(1).map(({ bucket }) => bucket);
    const quota = quotaOf?.(caller);
    const headersForApi = headersFor(call, addsToken, dropsCookies);

    const jobWith = (body: RequestBody): Job => {
      const costOf = makeCostOf(draws, stated, () =>
        body.kind === 'buffered' ? body.take().toString() : '',
      );
      const ticket = ticketFor(draws, costOf, {
        id: call.id,
        owner,
        caller,
        priority,
        weight: rule?.weight ?? 1,
        arrivedAt: call.arrivedAt,
        deadlineAt: call.arrivedAt + waitMs,
      });
      const cost = largestCost(ticket);
      identity.cost = cost;
      return {
        call,
        ticket: quota === undefined ? ticket : withQuota(ticket, quota, cost),
        rule: classRule,
        credential,
        learned: learnedDraws,
        costOf,
        method,
        target: baseUrlPath(upstream.basePath, target.sent),
        headers: headersForApi,
        addsToken,
        dropsCookies,
        authenticatesSocket: authorization !== undefined && CONNECTION_AUTH.test(authorization),
        idempotent: isIdempotent(method),
        isPreflight: isPreflight(incoming),
        shedStatus: rule?.shedStatus ?? shedStatus,
        body,
      };
    };
    const body = takeBody(call, owner);
    if (!(body instanceof Promise)) return jobWith(body);
    return body.then((read) => (read.kind === 'gone' ? 'cancelled' : jobWith(read)));
  };
}

/** The most operations that a request costs at one of its buckets, as far as that is stated. */
function largestCost({ cost, others }: Ticket): number | undefined {
  if (others === undefined) return cost;
  return others.reduce((most, one) => Math.max(most, one.cost ?? 1), cost ?? 1);
}

/** Path and query behind the base path. Without either, a request has the path `/`. */
function baseUrlPath(basePath: string, sent: string): string {
  return basePath === '' && !sent.startsWith('/') ? `/${sent}` : basePath + sent;
}

/** Removes the lines of a field from a flat list of name, value, name, value …, in place. */
function removeField(headers: string[], name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i]?.toLowerCase() === name) headers.splice(i, 2);
  }
}

/** The value of a header. Several lines become a list, which no Headgate-* header accepts. */
function headerValue(headers: NodeJS.Dict<string | string[]>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function readPriority(value: string | undefined): Priority | undefined {
  if (value === undefined) return undefined;
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

function readCost(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const cost = /^\d{1,7}$/.test(value) ? Number(value) : 0;
  if (cost >= 1 && cost <= MAX_COST) return cost;
  throw badHeader('Headgate-Cost', `a whole number from 1 to ${MAX_COST}`, value);
}

/** A caller rule may cap the priority that a caller requests. */
function capPriority(priority: Priority, max: Priority | undefined): Priority {
  if (max === undefined) return priority;
  return PRIORITIES.indexOf(priority) < PRIORITIES.indexOf(max) ? max : priority;
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
