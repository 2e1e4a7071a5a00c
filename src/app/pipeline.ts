import type { Config, ServedApi } from '../config/config.ts';
import { isSocketPath } from '../config/values.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import { makeAnswerReader } from '../rate-headers/answer-reader.ts';
import { ResetUnit } from '../rate-headers/reset-unit.ts';
import type { EndOfTurn } from '../util/clock.ts';
import { costPointer } from '../http/classify.ts';
import { makeIsOurHost } from '../http/origin-check.ts';
import { makeAdmit } from '../gateway/admit.ts';
import { makeQuotaOf } from '../gateway/identify/caller-quota.ts';
import { ClientPatience } from '../gateway/identify/client-patience.ts';
import { makeCallerOfKey, type CredentialHash } from '../gateway/identify/credentials.ts';
import { makeDrawsOf } from '../gateway/identify/draws.ts';
import { makeForward } from '../gateway/forward.ts';
import { makePipeline, type Pipeline } from '../gateway/gateway.ts';
import { makeIdentify } from '../gateway/identify.ts';
import { makeRecord } from '../gateway/record.ts';
import { makeRefuse, makeRespond } from '../gateway/respond.ts';
import { makeRewrite } from '../gateway/respond/link-rewrite.ts';
import { LoneRefusals } from '../gateway/settle/lone-refusals.ts';
import { settlesLedgerGrants } from '../gateway/admit/free-grant.ts';
import { makeSettle } from '../gateway/settle.ts';
import type { SocketShare } from '../gateway/connections/socket-share.ts';
import { makeTakeBody } from '../gateway/identify/take-body.ts';
import {
  makeCallerAddress,
  makeForwardedBy,
  makeIsTrustedProxy,
} from '../gateway/identify/trusted-proxies.ts';
import { makeWatchUnread } from '../gateway/respond/unread-answers.ts';
import { WaitingJobs } from '../gateway/admit/waiting-jobs.ts';
import { withoutLessons, type LearnedDraws } from '../draws/learned-draws.ts';
import type { SettlesEach } from '../ledger/draws-ledger.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { makeCredentialName } from '../telemetry/credential-names.ts';
import type { MeasureAttempt } from '../upstream/exchange.ts';
import type { Lane } from '../upstream/lane.ts';
import type { TokenSource } from '../upstream/token.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { SharedParts } from './shared-parts.ts';

/** What the pipelines of one API share. */
export interface ApiParts {
  readonly upstream: Upstream;
  readonly lane: Lane;
  readonly learned: LearnedDraws;
  readonly measureAttempt: MeasureAttempt;
  /** Names credentials. It is made once, because the names must stay the same after a reload. */
  readonly credentialHash: CredentialHash;
  readonly token: TokenSource;
  readonly ledger: Ledger & SettlesEach;
  readonly apiClock: ApiClock;
  readonly atEndOfTurn: EndOfTurn;
  readonly socketShare: SocketShare;
}

/**
 * Returns a function that constructs the pipeline of one API for given settings.
 *
 * The steps keep no state between calls, so a reload constructs a new pipeline. A call that is under
 * way finishes in the pipeline in which it started. State that must outlast a reload, such as the
 * names of buckets, is made once, here.
 */
export function makePipelines(shared: SharedParts, parts: ApiParts): (api: ServedApi) => Pipeline {
  const { upstream, lane, token, ledger, apiClock } = parts;
  const { credentialHash, atEndOfTurn, socketShare, measureAttempt } = parts;
  const { clock, random, log, recorder, memory, peers, watchReading } = shared;
  const settled = settlesLedgerGrants(ledger);
  const resetUnit = new ResetUnit();
  const loneRefusals = new LoneRefusals();
  const learnedPatience = new ClientPatience(log);

  return ({ name, match, config }) => {
    const hasToken = config.token.kind !== 'none';
    const { body, links, callerKeys } = config;
    const learned = config.learnBuckets === 'on' ? parts.learned : withoutLessons;
    const drawsOf = makeDrawsOf({ ...config, api: name, hasToken, credentialHash });
    const waitingJobs = new WaitingJobs(clock, { drawsOf, learned });
    const learns = config.patience === 'auto' && config.mode === 'enforce';
    const clientPatience = learns ? learnedPatience : undefined;
    const observer = shared.observe(name);
    const isTrusted = makeIsTrustedProxy(config.trustedProxies);
    const forwardedBy = makeForwardedBy(peers, isTrusted);
    const watchUnread = makeWatchUnread({ ...body, memory, watchReading });
    return makePipeline({
      identify: makeIdentify({
        ...config,
        drawsOf,
        quotaOf: makeQuotaOf(config.callers, name),
        learned,
        hasToken,
        defaultCaller: config.caller,
        clientPatience,
        takeBody: makeTakeBody({
          limits: { ...body, clock },
          memory,
          socketShare,
        }),
        callLimits: shared.callLimits,
        authThrottle: shared.authThrottle,
        proxyKeys: shared.proxyKeys,
        viaId: config.via === 'on' ? shared.viaId : undefined,
        readsAnswers:
          (links.rewrite === 'on' && links.jsonLinks.length > 0) ||
          config.classes.some((rule) => costPointer(rule) !== undefined),
        callerOfKey:
          callerKeys.length === 0 ? undefined : makeCallerOfKey(callerKeys, shared.keyHashKey),
        isOurHost: makeIsOurHost(hostNamesOf(config, [{ match, config }])),
        forwardedBy,
        callerAddress: makeCallerAddress(peers, isTrusted),
      }),
      admit: makeAdmit({
        ledger,
        clock,
        memory,
        socketPermits: upstream,
        mode: config.mode,
        observer,
        waitingJobs,
        clientPatience,
      }),
      forward: makeForward({
        ...config,
        upstream,
        lane,
        clock,
        token,
        measureAttempt,
      }),
      settle: makeSettle({
        ...config,
        ledger: settled,
        drawsOf,
        learned,
        readAnswer: makeAnswerReader({ ...config, unit: resetUnit }),
        loneRefusals,
        waitingJobs,
        apiClock,
        clock,
        random,
        log,
        observer,
      }),
      respond: makeRespond({
        atEndOfTurn,
        clock,
        socketShare,
        idleTimeoutMs: body.idleTimeoutMs,
        watchReading,
        watchUnread,
        rewrite:
          links.rewrite === 'off'
            ? undefined
            : makeRewrite({
                ...config.upstream,
                jsonLinks: links.jsonLinks,
                forwardedBy,
                clock,
                log,
              }),
      }),
      refuse: makeRefuse({ ...config, log, watchUnread, hasToken }),
      record: makeRecord({
        ...config,
        api: name,
        recorder,
        ledger,
        clock,
        credentialName: makeCredentialName(config.credentials),
      }),
      ledger: settled,
      observer,
      // A retry waits, and in observe mode nothing waits.
      retries: config.mode === 'observe' ? 0 : config.retries,
      clientPatience,
      shedStatus: config.shedStatus,
    });
  };
}

/** The host names of the gateway for these APIs, besides those that are always accepted. */
export function hostNamesOf(
  { hosts, listen }: Pick<Config, 'hosts' | 'listen'>,
  apis: readonly Pick<ServedApi, 'match' | 'config'>[],
): string[] {
  const names = apis.flatMap(({ match, config }) => [
    ...match.hosts,
    new URL(config.upstream.origin).hostname,
  ]);
  return [...hosts, ...(isSocketPath(listen) ? [] : [listen.host]), ...names];
}
