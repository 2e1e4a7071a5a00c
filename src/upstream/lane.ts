import Bottleneck from 'bottleneck';
import type { CallerSignal } from '../ledger/ledger.ts';

export interface LaneOptions {
  /** How many requests of one bucket may be in flight at once. */
  readonly concurrency: number;
  /** Minimum milliseconds between two starts. */
  readonly intervalMs: number;
}

/** Beyond this number, idle limiters are removed. */
const MAX_LIMITERS = 10_000;
const MAX_SEARCHED = 16;

/** How a job in the lane ended. */
export type LaneResult<T> =
  | { readonly kind: 'ran'; readonly value: T }
  | { readonly kind: 'cancelled' };

/**
 * A bulkhead per bucket, in this process, between grant and socket, for requests that had to wait.
 * It bounds the burst after a reset, so that one credential cannot take every socket.
 */
export interface Lane {
  /** Runs `job` in its turn. Resolves to `cancelled` as soon as the caller has gone before that. */
  run<T>(bucketId: string, signal: CallerSignal, job: () => Promise<T>): Promise<LaneResult<T>>;
  /** The number of jobs that wait for their turn. */
  readonly queued: number;
  close(): Promise<void>;
}

/**
 * Uses Bottleneck to count, space and queue the jobs. Bottleneck takes two milliseconds to start a
 * job, one after the other, so a job for which there is room starts without it
 * (docs/decisions/0002). A limiter exists while it has jobs, so there are as many as there are busy
 * buckets.
 */
export function makeLane({ concurrency, intervalMs }: LaneOptions): Lane {
  const limiters = new Map<string, Bottleneck>();
  let queued = 0;

  function limiterFor(bucketId: string): Bottleneck {
    const known = limiters.get(bucketId);
    if (known !== undefined) return known;
    const limiter = new Bottleneck({ maxConcurrent: concurrency, minTime: intervalMs });
    limiters.set(bucketId, limiter);
    limiter.on('idle', () => {
      // A limiter with spacing is kept: it knows when its last job started.
      if (intervalMs === 0 && limiter.empty()) limiters.delete(bucketId);
    });
    if (limiters.size > MAX_LIMITERS) removeOneIdle();
    return limiter;
  }

  /** Searches only a few, or each new bucket would cost a search of all busy ones. */
  function removeOneIdle(): void {
    let left = MAX_SEARCHED;
    for (const [bucketId, limiter] of limiters) {
      if (left-- === 0) return;
      limiters.delete(bucketId);
      if (jobsOf(limiter) === 0) return;
      // The next search begins with others.
      limiters.set(bucketId, limiter);
    }
  }

  /** Runs a job now, and counts it by a Bottleneck job of the same duration. */
  async function runNow<T>(limiter: Bottleneck, job: () => Promise<T>): Promise<LaneResult<T>> {
    const running = job();
    // The error of a failed job reaches the caller of `run` through `running`.
    const ended = running.catch(() => undefined);
    void limiter.schedule(() => ended);
    return { kind: 'ran', value: await running };
  }

  return {
    get queued() {
      return queued;
    },
    run(bucketId, signal, job) {
      const limiter = limiterFor(bucketId);
      if (intervalMs === 0 && jobsOf(limiter) < concurrency) return runNow(limiter, job);
      return new Promise((resolve, reject) => {
        queued++;
        let waiting = true;
        const stopWaiting = (): boolean => {
          if (!waiting) return false;
          waiting = false;
          queued--;
          return true;
        };
        const removeListener = signal.onGone(() => {
          if (stopWaiting()) resolve({ kind: 'cancelled' });
        });
        limiter
          .schedule(async () => {
            // Bottleneck cannot remove a job from its queue, so a cancelled job is skipped here.
            if (!stopWaiting()) return;
            removeListener();
            resolve({ kind: 'ran', value: await job() });
          })
          .catch(reject);
      });
    },
    async close() {
      await Promise.all([...limiters.values()].map((limiter) => limiter.disconnect(false)));
      limiters.clear();
    },
  };
}

function jobsOf(limiter: Bottleneck): number {
  const { RECEIVED, QUEUED, RUNNING, EXECUTING } = limiter.counts();
  return RECEIVED + QUEUED + RUNNING + EXECUTING;
}
