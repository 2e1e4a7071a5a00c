import { LocalBudget } from '../../src/ledger/local/local-budget.ts';
import type { Timer } from '../../src/util/clock.ts';
import { FakeClock } from './fake-clock.ts';
import { makeLimiter, type LimiterOptions, type Semantics, type Verdict } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';

/** What one replica does. */
export interface ReplicaPlan {
  /** How long before the outage it spent each of its operations. */
  readonly spentAgoMs: readonly number[];
  /** How long after the outage it starts its share. */
  readonly lateMs: number;
  /** The interval between its calls. 0: calls always wait. `undefined`: it has none. */
  readonly callEveryMs: number | undefined;
  /** How long after the outage its calls begin; at once unless given. */
  readonly callsFromMs?: number;
  /** Round-trip times, one for each call, used in rotation. */
  readonly tripsMs: readonly number[];
}

export interface ShareWorldOptions extends LimiterOptions {
  readonly semantics: Semantics;
  readonly replicas: readonly ReplicaPlan[];
  readonly runMs: number;
}

export interface SentByReplica {
  /** Milliseconds since the outage began. */
  readonly at: number;
  readonly accepted: boolean;
}

const NO_OFFSET = { low: 0, high: 0 };
/** When the outage begins. */
const T0 = 5_000_000;

/**
 * Runs replicas that coordinated until an outage and have a share each from then on, in front of an
 * API with exact timestamps. Returns the requests of each replica that reached the API, in order.
 */
export function runReplicas({
  replicas,
  semantics,
  runMs,
  ...limits
}: ShareWorldOptions): SentByReplica[][] {
  const clock = new FakeClock({ startMs: T0 });
  const limiter = makeLimiter(semantics, limits);
  const random = seededRandom(7);

  const before = replicas
    .flatMap(({ spentAgoMs }, replica) => spentAgoMs.map((agoMs) => ({ replica, at: T0 - agoMs })))
    .toSorted((a, b) => a.at - b.at)
    .map(({ replica, at }) => ({ replica, verdict: limiter.take(at) }));
  const last = before.at(-1)?.verdict;
  const sent = replicas.map((replica, i) => {
    const own = before.filter((one) => one.replica === i && one.verdict.allowed);
    return runReplica(
      replica,
      own.map(({ verdict }) => verdict),
    );
  });
  clock.advance(runMs);
  return sent;

  function runReplica(
    { lateMs, callEveryMs, callsFromMs = 0, tripsMs }: ReplicaPlan,
    own: readonly Verdict[],
  ): SentByReplica[] {
    const bucket = new LocalBudget(T0);
    const log: SentByReplica[] = [];
    let waiting = 0;
    let calls = 0;
    let alarm: Timer | undefined;

    const pump = (): void => {
      const now = clock.now();
      bucket.advance(now, NO_OFFSET);
      alarm?.cancel();
      const hasCalls = clock.now() - T0 >= callsFromMs;
      const hasWaiting = (): boolean => (callEveryMs === 0 && hasCalls) || waiting > 0;
      while (hasWaiting() && bucket.offer(now) !== undefined) {
        const lease = bucket.grant(now);
        waiting--;
        const tripMs = tripsMs[calls++ % tripsMs.length] ?? 0;
        clock.after(tripMs / 2, () => {
          const verdict = limiter.take(clock.now());
          log.push({ at: clock.now() - T0, accepted: verdict.allowed });
          clock.after(tripMs / 2, () => {
            const then = clock.now();
            bucket.advance(then, NO_OFFSET);
            const answer = {
              status: verdict.allowed ? 200 : 429,
              limit: verdict.limit,
              remaining: verdict.remaining,
              resetAt: verdict.resetAtMs,
              ...(verdict.allowed ? {} : { retryAt: verdict.retryAtMs }),
              basis: 'instant' as const,
              sameWithinMs: 0,
              uncertaintyMs: 0,
              receivedAt: then,
            };
            bucket.answered(lease, answer, then, random);
            pump();
          });
        });
      }
      if (!hasWaiting()) return;
      const wakeAt = bucket.nextWakeAt(now);
      alarm = clock.after(wakeAt - now, pump);
    };

    const call = (): void => {
      if (callEveryMs === undefined || callEveryMs === 0) return;
      waiting++;
      pump();
      clock.after(callEveryMs, call);
    };

    clock.after(lateMs, () => {
      const now = clock.now();
      const reported = {
        limit: limits.limit,
        remaining: last?.remaining ?? limits.limit,
        resetAt: last?.resetAtMs,
        uncertaintyMs: 0,
        periodMs: limits.periodMs,
      };
      const slots = own.map(({ resetAtMs }): [number, number] => [resetAtMs, 1]);
      bucket.startShare({ reported, blockedUntil: undefined, slots }, replicas.length, now);
      pump();
    });
    clock.after(Math.max(lateMs, callsFromMs), () => {
      pump();
      call();
    });
    return log;
  }
}
