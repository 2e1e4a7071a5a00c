import { maskPath } from '../core/target.ts';
import type { Clock } from '../core/clock.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Log } from '../telemetry/log.ts';
import type { Call } from './call.ts';

/** Writes the one line that every call leaves behind, whatever became of it. */
export type RecordCall = (call: Call) => void;

export interface RecordDependencies {
  readonly log: Log;
  readonly ledger: Pick<Ledger, 'view'>;
  readonly clock: Clock;
  /** Parts of paths that are secret: `/tokens/*`. */
  readonly pathMasks: readonly string[];
}

export function makeRecord({ log, ledger, clock, pathMasks }: RecordDependencies): RecordCall {
  return function record(call) {
    const view = call.bucket === undefined ? undefined : ledger.view(call.bucket);
    log.info(
      {
        id: call.id,
        caller: call.caller,
        bucket: call.bucket,
        class: call.class,
        priority: call.priority,
        method: call.incoming.method,
        path: maskPath(call.path, pathMasks),
        query: call.query,
        status: call.outgoing.headersSent ? call.outgoing.statusCode : 0,
        outcome: call.outcome,
        code: call.code,
        attempts: call.attempts,
        waitMs: tenth(call.waitMs),
        upstreamMs: tenth(call.upstreamMs),
        totalMs: tenth(clock.now() - call.arrivedAt),
        bytesIn: call.bytesIn,
        bytesOut: call.bytesOut,
        limit: view?.limit,
        remaining: view?.remaining,
        resetInMs: view?.resetInMs === undefined ? undefined : Math.round(view.resetInMs),
        waiting: view?.waiting ?? 0,
      },
      'call',
    );
  };
}

/** Milliseconds with one decimal: enough to see, short enough to read. */
function tenth(ms: number): number {
  return Math.round(ms * 10) / 10;
}
