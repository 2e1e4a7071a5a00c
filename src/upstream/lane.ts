import Bottleneck from 'bottleneck';
import type { CallerSignal } from '../ledger/ledger.ts';

export interface LaneOptions {
  /** How many of a bucket's requests may be out at once. */
  readonly concurrency: number;
  /** Least milliseconds between two starts. */
  readonly intervalMs: number;
}

/** Beyond this many, idle limiters are forgotten. */
const MOST_LIMITERS = 10_000;

/** How a job in the lane ended. */
export type Ran<T> = { readonly kind: 'ran'; readonly value: T } | { readonly kind: 'cancelled' };

/**
 * A local bulkhead per bucket, between grant and socket, for requests that had to wait: it bounds
 * the burst after a reset, so that one credential cannot take every socket.
 */
export interface Lane {
  /** Runs `job` when it is its turn; `left` when the caller went first, and then at once. */
  run<T>(bucketId: string, signal: CallerSignal, job: () => Promise<T>): Promise<Ran<T>>;
  /** Jobs that wait for their turn. */
  readonly queued: number;
  close(): Promise<void>;
}

/**
 * Bottleneck does the counting, the spacing and the queueing, and nothing else of it is used. It
 * takes two milliseconds to start a job, one after the other, so what has room does not wait for it
 * (docs/decisions/0002). A limiter lives as long as it has jobs, so there are as many as there are
 * busy buckets.
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
      // With spacing, a limiter that is forgotten forgets when its last job started as well.
      if (intervalMs === 0 && limiter.empty()) limiters.delete(bucketId);
    });
    if (limiters.size > MOST_LIMITERS) forgetOneIdle();
    return limiter;
  }

  function forgetOneIdle(): void {
    for (const [bucketId, limiter] of limiters) {
      if (jobsOf(limiter) > 0) continue;
      limiters.delete(bucketId);
      return;
    }
  }

  /** Runs a job now, with a job of Bottleneck's beside it that lasts as long and counts for it. */
  async function runNow<T>(limiter: Bottleneck, job: () => Promise<T>): Promise<Ran<T>> {
    const running = job();
    // What it failed with is for who waits for it.
    const over = running.catch(() => undefined);
    void limiter.schedule(() => over);
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
            // Bottleneck cannot take a job out of its queue: whoever left is passed over here.
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
