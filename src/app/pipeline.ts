import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import { makeAnswerReader } from '../rate-headers/answer-reader.ts';
import { ResetUnit } from '../rate-headers/reset-unit.ts';
import type { Random, Clock, EndOfTurn } from '../util/clock.ts';
import type { AuthThrottle } from '../http/auth-throttle.ts';
import { makeIsOurHost } from '../http/origin-check.ts';
import type { CallLimits } from '../gateway/call-limits.ts';
import { makeAdmit } from '../gateway/admit.ts';
import { makeCallerOfKey, type CredentialHash } from '../gateway/credentials.ts';
import { makeForward } from '../gateway/forward.ts';
import { makeGateway, type Gateway } from '../gateway/gateway.ts';
import { makeIdentify } from '../gateway/identify.ts';
import { makeRecord } from '../gateway/record.ts';
import { makeRefuse, makeRespond } from '../gateway/respond.ts';
import { makeRewrite } from '../gateway/link-rewrite.ts';
import { LoneRefusals } from '../gateway/lone-refusals.ts';
import type { Peers } from '../gateway/peers.ts';
import { settlesOwn } from '../gateway/own-grant.ts';
import { makeWatchReading } from '../gateway/reading-watch.ts';
import { makeSendQueue } from '../gateway/send-queue.ts';
import { makeSettle } from '../gateway/settle.ts';
import type { SocketShare } from '../gateway/socket-share.ts';
import { makeTakeBody } from '../gateway/take-body.ts';
import {
  makeCallerAddress,
  makeForwardedBy,
  makeIsTrustedProxy,
} from '../gateway/trusted-proxies.ts';
import { makeWatchUnread } from '../gateway/unread-answers.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import { makeCredentialName } from '../telemetry/credential-names.ts';
import type { Log } from '../telemetry/log.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { RequestMemory } from '../upstream/request-memory.ts';
import type { Lane } from '../upstream/lane.ts';
import type { TokenSource } from '../upstream/token.ts';
import type { Upstream } from '../upstream/upstream.ts';

/** What all pipelines share, whatever settings a reload brings. */
export interface PipelineParts {
  readonly upstream: Upstream;
  readonly lane: Lane;
  /** Names credentials. It is made once, because the names must stay the same after a reload. */
  readonly credentialHash: CredentialHash;
  readonly token: TokenSource;
  readonly ledger: Ledger;
  readonly apiClock: ApiClock;
  readonly clock: Clock;
  readonly atEndOfTurn: EndOfTurn;
  readonly random: Random;
  readonly log: Log;
  readonly observer: PipelineObserver;
  readonly recorder: CallRecorder;
  readonly requestMemory: RequestMemory;
  readonly callLimits: CallLimits;
  readonly socketShare: SocketShare;
  readonly authThrottle: AuthThrottle;
  readonly peers: Peers;
}

/**
 * Returns a function that constructs the pipeline for given settings.
 *
 * The steps keep no state between calls, so a reload constructs a new pipeline. A call that is under
 * way finishes in the pipeline in which it started. State that must outlast a reload, such as the
 * names of buckets, is made once, here.
 */
export function makePipelines(parts: PipelineParts): (config: Config) => Gateway {
  const { upstream, lane, token, ledger, apiClock, clock, random, log, observer, recorder } = parts;
  const { credentialHash, atEndOfTurn, requestMemory, socketShare, peers } = parts;
  const watchReading = makeWatchReading({ clock, sendQueue: makeSendQueue(clock) });
  const settled = settlesOwn(ledger);
  const resetUnit = new ResetUnit();
  const loneRefusals = new LoneRefusals();
  const keyHashKey = randomBytes(32);
  const ownId = `headgate-${randomBytes(4).toString('hex')}`;

  return (config) => {
    const hasToken = config.token.kind !== 'none';
    const { body, links, callerKeys, hosts, listen } = config;
    const isTrusted = makeIsTrustedProxy(config.trustedProxies);
    const forwardedBy = makeForwardedBy(peers, isTrusted);
    const watchUnread = makeWatchUnread({ ...body, memory: requestMemory, watchReading });
    const apiHost = new URL(config.upstream.origin).hostname;
    return makeGateway({
      identify: makeIdentify({
        ...config,
        hasToken,
        defaultCaller: config.caller,
        takeBody: makeTakeBody({
          limits: { ...body, clock },
          memory: requestMemory,
          socketShare,
        }),
        callLimits: parts.callLimits,
        authThrottle: parts.authThrottle,
        viaId: config.via === 'on' ? ownId : undefined,
        readsAnswers: links.rewrite === 'on' && links.jsonLinks.length > 0,
        credentialHash,
        callerOfKey: callerKeys.length === 0 ? undefined : makeCallerOfKey(callerKeys, keyHashKey),
        isOurHost: makeIsOurHost([...hosts, listen.host, apiHost]),
        forwardedBy,
        callerAddress: makeCallerAddress(peers, isTrusted),
      }),
      admit: makeAdmit({
        ledger,
        clock,
        memory: requestMemory,
        socketPermits: upstream,
        mode: config.mode,
        observer,
      }),
      forward: makeForward({ ...config, upstream, lane, clock, token: () => token.current() }),
      settle: makeSettle({
        ...config,
        ledger: settled,
        readAnswer: makeAnswerReader({ ...config, unit: resetUnit }),
        loneRefusals,
        apiClock,
        clock,
        random,
        log,
        observer,
      }),
      respond: makeRespond({
        atEndOfTurn,
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
        recorder,
        ledger,
        clock,
        credentialName: makeCredentialName(config.credentials),
      }),
      ledger: settled,
      observer,
      // A retry waits, and in observe mode nothing waits.
      retries: config.mode === 'observe' ? 0 : config.retries,
      shedStatus: config.shedStatus,
    });
  };
}
