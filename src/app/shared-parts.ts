import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { isSocketPath } from '../config/values.ts';
import { CallLimits } from '../gateway/identify/call-limits.ts';
import { Peers } from '../gateway/connections/peers.ts';
import { ProxyKeys } from '../gateway/proxy/proxy-keys.ts';
import { makeWatchReading, type WatchReading } from '../gateway/connections/reading-watch.ts';
import { makeSendQueue } from '../gateway/connections/send-queue.ts';
import { AuthThrottle } from '../http/auth-throttle.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import type { Log } from '../telemetry/log.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import { RequestMemory } from '../upstream/request-memory.ts';
import type { Clock, Random } from '../util/clock.ts';

/** What all calls share, whatever their API, and whatever settings a reload brings. */
export interface SharedParts extends Surroundings {
  /** Of waiting requests, and of answers that their callers have not read. */
  readonly memory: RequestMemory;
  readonly callLimits: CallLimits;
  readonly authThrottle: AuthThrottle;
  readonly peers: Peers;
  readonly watchReading: WatchReading;
  /** The keys that callers sent to the proxy; `undefined` where there is none. */
  readonly proxyKeys: ProxyKeys | undefined;
  /** Names this gateway in Via. */
  readonly viaId: string;
  /** The key of the hashes by which caller keys are found. */
  readonly keyHashKey: Buffer;
}

/** What the shared parts depend on besides the settings. */
export interface Surroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** `api`: its name, if there are several. */
  readonly observe: (api: string | undefined) => PipelineObserver;
  readonly recorder: CallRecorder;
}

/** Constructs the parts that all calls share. */
export function makeSharedParts(
  config: Pick<Config, 'body' | 'maxCalls' | 'listen' | 'intercept'>,
  surroundings: Surroundings,
): SharedParts {
  const { clock, random, log, observe, recorder } = surroundings;
  return {
    clock,
    random,
    log,
    observe,
    recorder,
    memory: new RequestMemory(config.body.memoryBytes),
    callLimits: new CallLimits(config.maxCalls),
    authThrottle: makeAuthThrottle('callers', clock, log),
    // All connections to a Unix socket come from this machine, and have no address.
    peers: new Peers(isSocketPath(config.listen) ? 'unix' : undefined),
    watchReading: makeWatchReading({ clock, sendQueue: makeSendQueue(clock) }),
    proxyKeys: config.intercept === undefined ? undefined : new ProxyKeys(),
    viaId: `headgate-${randomBytes(4).toString('hex')}`,
    keyHashKey: randomBytes(32),
  };
}

/** Makes the bound on wrong keys or tokens at a listener, which logs them. */
export function makeAuthThrottle(
  listener: 'callers' | 'admin',
  clock: Clock,
  log: Pick<Log, 'warn'>,
): AuthThrottle {
  return new AuthThrottle({
    clock,
    report: (failure) => log.warn({ listener, ...failure }, 'auth failures'),
  });
}
