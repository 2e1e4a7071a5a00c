import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Settings } from '../config/config.ts';
import { Call } from '../gateway/call.ts';
import { GatewayError } from '../gateway/problem.ts';
import { logCalls } from '../telemetry/call-line.ts';
import { LedgerMonitor } from '../telemetry/ledger-monitor.ts';
import type { Log } from '../telemetry/log.ts';
import type { PipelineObserver } from '../telemetry/pipeline-observer.ts';
import type { Clock, Random } from '../util/clock.ts';
import { makeApis } from './apis.ts';
import { makeSharedParts } from './shared-parts.ts';

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
  const observe = (): PipelineObserver => UNOBSERVED;
  const recorder = logCalls(log);
  const shared = makeSharedParts(config, { clock, random, log, observe, recorder });
  const { callLimits } = shared;
  const apis = await makeApis({
    currentSettings: () => settings,
    ledgerMonitor: new LedgerMonitor(),
    tracing: undefined,
    metrics: undefined,
    shared,
  });
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
      await apis.callers(call);
      if (outgoing.destroyed) end();
      else outgoing.once('close', end);
    },
    close: () => apis.close(),
  };
}
