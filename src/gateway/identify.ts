import type { AuthThrottle } from '../http/auth-throttle.ts';
import { makeClassify, type ClassRule } from '../http/classify.ts';
import { credentialOf } from '../http/credential-fields.ts';
import type { LearnedDraws } from '../draws/learned-draws.ts';
import type { LearnedDraw } from '../draws/lesson.ts';
import { isIdempotent } from '../http/methods.ts';
import type { RelativeTarget } from '../http/target.ts';
import { matchCallerRule, treatsCalls, type CallerRule } from '../queue/caller-rules.ts';
import { longestWaitMs } from '../queue/patience.ts';
import type { Ticket } from '../ledger/ledger.ts';
import type { RequestBody } from '../upstream/body.ts';
import type { CallLimits } from './identify/call-limits.ts';
import { identityOf, type Call } from './call.ts';
import {
  headerValue,
  readCallerName,
  readCost,
  readMaxWait,
  readPriority,
} from './identify/caller-headers.ts';
import { withQuota, type QuotaOf } from './identify/caller-quota.ts';
import type { ClientPatience } from './identify/client-patience.ts';
import { makeCostOf, ticketFor, type CostOf, type DrawsOf } from './identify/draws.ts';
import { refuseUnknownKey, type CallerOfKey } from './identify/credentials.ts';
import { makeHeadersFor, type HeadersForDependencies } from './identify/headers-for-api.ts';
import { isPreflight } from './identify/preflight.ts';
import type { ProxyKeys } from './proxy/proxy-keys.ts';
import { GatewayError, type ShedStatus } from './problem.ts';
import {
  authorizationOf,
  makeRefusePages,
  refuseManyHeaders,
  refuseWebSocket,
} from './identify/request-checks.ts';
import type { TakeBody } from './identify/take-body.ts';
import type { CallerAddress, ForwardedBy } from './identify/trusted-proxies.ts';

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

export interface IdentifyDependencies extends HeadersForDependencies {
  readonly upstream: { readonly origin: string; readonly basePath: string };
  /** Lower-case names of the fields besides Authorization that hold a credential. */
  readonly credentialFields: readonly string[];
  /** Whether a token is configured for requests without a credential. */
  readonly hasToken: boolean;
  /** `on`: cookies pass also with the configured token. */
  readonly cookies: 'on' | 'off';
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

/**
 * Schemes that authenticate the connection and not the request: Microsoft's NTLM, and Negotiate
 * (RFC 4559). Servers take each later request on that connection for one of the same user.
 */
const CONNECTION_AUTH = /^(?:ntlm|negotiate)(?: |$)/i;

/** A server that supports TRACE answers with the request itself (RFC 9110 §9.3.8). */
const TRACE_DETAIL =
  'TRACE is not supported: the answer would show the fields that Headgate adds, such as its token';

export function makeIdentify(dependencies: IdentifyDependencies): Identify {
  const { upstream, hasToken, classes, callers, defaultCaller } = dependencies;
  const { maxWaitMs, clientPatience, shedStatus, takeBody, cookies } = dependencies;
  const { callerOfKey, isOurHost, forwardedBy } = dependencies;
  const { callLimits, authThrottle, callerAddress, credentialFields, proxyKeys } = dependencies;
  const { drawsOf, quotaOf, learned } = dependencies;
  const rules = callers.filter(treatsCalls);
  const headersFor = makeHeadersFor(dependencies);
  const refusePages = makeRefusePages(isOurHost, forwardedBy);
  const classify = makeClassify(classes);

  return function identify(call, target) {
    const { incoming } = call;
    const { method = 'GET', headers } = incoming;
    const identity = identityOf(target);
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
    const caller = keyOwner ?? readCallerName(headers, defaultCaller, userAgent, address);
    identity.caller = caller;
    if (method === 'TRACE') throw new GatewayError('method-not-supported', TRACE_DETAIL);
    refuseWebSocket(incoming);
    const owner = keyOwner ?? address;
    callLimits.enter(owner);
    call.countedFor = owner;
    const rule = matchCallerRule(rules, caller, userAgent);
    const priority = readPriority(headers, rule?.maxPriority);
    identity.priority = priority;
    const statedMs = readMaxWait(headers);
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
    const stated = readCost(headers);
    identity.bucket = draws[0].bucket;
    if (draws.length > 1) identity.others = draws.slice(1).map(({ bucket }) => bucket);
    const quota = quotaOf?.(caller);
    const headersForApi = headersFor(incoming, addsToken, dropsCookies);

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
