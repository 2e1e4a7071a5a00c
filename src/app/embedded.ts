import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Settings } from '../config/config.ts';
import { CallLimits } from '../gateway/call-limits.ts';
import { Call } from '../gateway/call.ts';
import { Peers } from '../gateway/peers.ts';
import { GatewayError } from '../gateway/problem.ts';
import { makeWatchReading } from '../gateway/reading-watch.ts';
import { makeSendQueue } from '../gateway/send-queue.ts';
import { AuthThrottle } from '../http/auth-throttle.ts';
import { logCalls } from '../telemetry/call-line.ts';
import { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Log } from '../telemetry/log.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import { RequestMemory } from '../upstream/request-memory.ts';
import type { Clock, Random } from '../util/clock.ts';
import { makeApis } from './apis.ts';

export interface EmbeddedOptions {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A gateway within another program's server: everything behind the listener. */
export interface Embedded {
  /**
   * Serves a request of the program's server. `prefix` is the path under which the program has the
   * gateway; it is not sent. Resolves when the call has its log line. Never rejects.
   */
  serve(incoming: IncomingMessage, outgoing: ServerResponse, prefix: string): Promise<void>;
  /** Aborts what is under way, and closes the connections to the APIs and to Redis. */
  close(): Promise<void>;
}

/** An application has no metrics of the gateway. */
const UNOBSERVED: PipelineObserver = {
  granted: () => undefined,
  attempted: () => undefined,
  accepted: () => undefined,
  throttled: () => undefined,
  retry: () => undefined,
};

/** Constructs a gateway without listeners. */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { settings, clock, random, log } = options;
  const { config } = settings;
  const callLimits = new CallLimits(config.maxCalls);
  const apis = await makeApis({
    currentSettings: () => settings,
    ledgerMonitor: new LedgerMonitor(),
    tracing: undefined,
    metrics: undefined,
    shared: {
      clock,
      random,
      log,
      observe: () => UNOBSERVED,
      recorder: logCalls(log),
      requestMemory: new RequestMemory(config.body.memoryBytes),
      callLimits,
      authThrottle: new AuthThrottle({
        clock,
        report: (failure) => log.warn({ listener: 'callers', ...failure }, 'auth failures'),
      }),
      peers: new Peers(),
      watchReading: makeWatchReading({ clock, sendQueue: makeSendQueue(clock) }),
      proxyKeys: undefined,
      viaId: `headgate-${randomBytes(4).toString('hex')}`,
      keyHashKey: randomBytes(32),
    },
  });
  const { callers: gateway } = apis.gateways();
  let calls = 0;

  return {
    async serve(incoming, outgoing, prefix) {
      const call = new Call(randomUUID(), incoming, outgoing, clock.now());
      call.prefix = prefix;
      calls++;
      const end = (): void => {
        calls--;
        if (call.countedFor !== undefined) callLimits.leave(call.countedFor);
      };
      const tooMany = callLimits.problemOf(calls);
      if (tooMany !== undefined) call.cutOff(tooMany);
      else if (incoming.readableDidRead) {
        const cause = new Error('a middleware has read the body of a request for the gateway');
        call.cutOff(new GatewayError('internal', 'the body was read before', { cause }));
      }
      await gateway(call);
      if (outgoing.destroyed) end();
      else outgoing.once('close', end);
    },
    close: () => apis.close(),
  };
}
