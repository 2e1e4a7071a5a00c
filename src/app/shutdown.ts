import type { Config } from '../config/config.ts';
import type { Listener } from '../gateway/connections/listener.ts';
import type { Log } from '../telemetry/log.ts';
import type { Clock } from '../util/clock.ts';
import type { Apis } from './apis.ts';

/** How a gateway ends; the functions are those of `RunningGateway`. */
export interface Shutdown {
  /** Whether it has begun: the gateway is then not ready. */
  readonly isDraining: boolean;
  readonly stop: (pace?: 'at-once' | 'after-delay') => Promise<void>;
  readonly cutOff: () => Promise<void>;
}

export interface ShutdownDependencies {
  readonly clock: Clock;
  readonly log: Pick<Log, 'info'>;
  readonly listener: Listener;
  readonly apis: Pick<Apis, 'ledger' | 'abort'>;
  /** The settings in force. */
  readonly config: () => Pick<Config, 'drainDelayMs' | 'drainTimeoutMs'>;
  /** Closes every part of the gateway. */
  readonly closeAll: () => Promise<void>;
}

/** After the drain timeout, the last refusals have this long to reach their callers. */
const LAST_REFUSALS_MS = 500;
/** The same after a second signal to stop, which asks for the end at once. */
const CUT_OFF_MS = 100;

export function makeShutdown(dependencies: ShutdownDependencies): Shutdown {
  const { clock, log, listener, apis, config, closeAll } = dependencies;
  let isDraining = false;

  return {
    get isDraining() {
      return isDraining;
    },
    async stop(pace = 'at-once') {
      isDraining = true;
      listener.retire();
      const { drainDelayMs, drainTimeoutMs } = config();
      const delayMs = pace === 'after-delay' ? drainDelayMs : 0;
      log.info({ inFlight: listener.inFlight, delayMs, drainTimeoutMs }, 'draining');
      apis.ledger.drain(clock.now() + delayMs + drainTimeoutMs);
      if (delayMs > 0) await delay(clock, delayMs);
      const finished = listener.drain();
      const inTime = await settlesWithin(clock, drainTimeoutMs, finished);
      if (!inTime) {
        // The remaining calls get no answer of the API: each is refused, and its line is logged.
        listener.refuseRest();
        await apis.abort();
        await settlesWithin(clock, LAST_REFUSALS_MS, finished);
      }
      await closeAll();
      log.info({ inTime }, 'stopped');
    },
    async cutOff() {
      const finished = listener.drain();
      listener.refuseRest();
      await settlesWithin(clock, CUT_OFF_MS, finished);
    },
  };
}

function delay(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** Resolves to whether `promise` resolves within `ms`. */
function settlesWithin(clock: Clock, ms: number, promise: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, () => resolve(false));
    void promise.then(() => {
      timer.cancel();
      resolve(true);
    });
  });
}
