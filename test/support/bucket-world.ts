import type { GrantKind } from '../../src/budget/bucket.ts';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import type { Timer } from '../../src/util/clock.ts';
import type { Observation } from '../../src/budget/observation.ts';
import { FakeClock } from './fake-clock.ts';
import { makeLimiter, type LimiterOptions, type Semantics } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';

/** What happens to one request after its grant. */
export interface Fate {
  readonly kind:
    /** It reaches the API, and its answer arrives. */
    | 'answered'
    /** It does not reach the API, and the ledger knows. */
    | 'unsent'
    /** It does not reach the API, and the ledger cannot know. */
    | 'lost-before'
    /** It reaches the API, and no answer arrives. */
    | 'lost-after';
  readonly toApiMs: number;
  readonly backMs: number;
}

export interface WorldOptions extends LimiterOptions {
  readonly semantics: Semantics;
  /** One for each grant, used in rotation. */
  readonly fates: readonly Fate[];
  readonly maxInFlight: number;
  /** What each request states to cost, in rotation, but at most the limit; 1 unless given. */
  readonly costs?: readonly number[];
  readonly runMs: number;
  /** The API's clock minus ours, and by how much the known bounds lie below and above that. */
  readonly offsetMs?: number;
  readonly belowMs?: number;
  readonly aboveMs?: number;
  /** Alternating times in which requests wait and in which none does. */
  readonly demandMs?: readonly number[];
  /** First requests and canaries are answered within a second, whatever their fate. */
  readonly trialsArrive?: boolean;
  /** What the API reports instead of the truth. */
  readonly lie?: (truth: Observation, number: number) => Observation;
  /** Called after each event and after each grant. */
  readonly inspect?: (bucket: LocalBudget, now: number) => void;
}

export interface SentRequest {
  readonly at: number;
  readonly kind: GrantKind;
  readonly accepted: boolean;
}

export interface WorldResult {
  /** The requests that reached the API, in that order. */
  readonly atTheApi: readonly SentRequest[];
  readonly grants: number;
  /** How many grants had no answer within ten seconds, so that the bucket had to guess. */
  readonly unanswered: number;
  /** The longest time without a grant while requests waited and fewer than the maximum were in flight. */
  readonly longestWaitMs: number;
  /** How often a request could be granted earlier than `nextWakeAt` had announced. */
  readonly unannounced: number;
}

/** Runs a bucket in front of an API with exact timestamps. The test chooses every delay and loss. */
export function runWorld(options: WorldOptions): WorldResult {
  const { semantics, fates, maxInFlight, runMs, demandMs = [], lie = (truth) => truth } = options;
  const { costs = [1], limit } = options;
  const { offsetMs = 0, belowMs = 0, aboveMs = 0, inspect = () => undefined } = options;
  const clock = new FakeClock({ startMs: 5_000_000 });
  const limiter = makeLimiter(semantics, options);
  const random = seededRandom(7);
  const bucket = new LocalBudget(clock.now());
  const offset = { low: offsetMs - belowMs, high: offsetMs + aboveMs };
  const atTheApi: SentRequest[] = [];
  const end = clock.now() + runMs;
  let [grants, inFlight, unanswered, longestWaitMs, unannounced] = [0, 0, 0, 0, 0];
  let isWanted = true;
  let isFull = false;
  let waitingSince = clock.now();
  let alarm: Timer | undefined;
  let earlyLook: Timer | undefined;

  const settle = (act: (now: number) => void): void => {
    const now = clock.now();
    bucket.advance(now, offset);
    act(now);
    inFlight--;
    pump();
  };

  const send = (lease: LocalLease, { kind, toApiMs, backMs }: Fate, number: number): void => {
    const isSlow = kind === 'answered' && toApiMs + backMs >= 10_000;
    if (isSlow || kind === 'lost-before' || kind === 'lost-after') unanswered++;
    if (kind === 'unsent') {
      clock.after(toApiMs, () => settle(() => bucket.unsent(lease)));
      return;
    }
    if (kind === 'lost-before') {
      clock.after(toApiMs + backMs, () => settle((now) => bucket.lost(lease, now)));
      return;
    }
    clock.after(toApiMs, () => {
      const verdict = limiter.take(clock.now() + offsetMs, lease.cost);
      atTheApi.push({ at: clock.now(), kind: lease.kind, accepted: verdict.allowed });
      clock.after(backMs, () =>
        settle((now) => {
          if (kind === 'lost-after') return bucket.lost(lease, now);
          const observation: Observation = {
            status: verdict.allowed ? 200 : 429,
            limit: verdict.limit,
            remaining: verdict.remaining,
            resetAt: verdict.resetAtMs,
            basis: 'instant',
            sameWithinMs: 0,
            uncertaintyMs: belowMs + aboveMs,
            receivedAt: now,
          };
          bucket.answered(lease, lie(observation, number), now, random);
        }),
      );
    });
  };

  const pump = (): void => {
    const now = clock.now();
    bucket.advance(now, offset);
    inspect(bucket, now);
    alarm?.cancel();
    earlyLook?.cancel();
    if (!isWanted) return;
    // With the maximum in flight, the bucket kept no request waiting.
    if (isFull && inFlight < maxInFlight) waitingSince = now;
    const nextCost = (): number => Math.min(costs[grants % costs.length] ?? 1, limit);
    while (inFlight < maxInFlight && bucket.offer(now, nextCost()) !== undefined) {
      const lease = bucket.grant(now, nextCost());
      inspect(bucket, now);
      longestWaitMs = Math.max(longestWaitMs, now - waitingSince);
      waitingSince = now;
      const number = grants++;
      inFlight++;
      const fate = fates[number % fates.length];
      if (fate === undefined) throw new Error('expected at least one fate');
      const arrives = lease.kind !== 'regular' && options.trialsArrive === true;
      send(lease, arrives ? { kind: 'answered', toApiMs: 100, backMs: 100 } : fate, number);
    }
    isFull = inFlight >= maxInFlight;
    if (isFull) return;
    const wakeAt = bucket.nextWakeAt(now);
    alarm = clock.after(wakeAt - now, pump);
    earlyLook = clock.after((wakeAt - now) * 0.7, () => {
      const earlyAt = clock.now();
      bucket.advance(earlyAt, offset);
      if (earlyAt < wakeAt && bucket.offer(earlyAt, nextCost()) !== undefined) unannounced++;
    });
  };

  const toggleDemand = (turn: number): void => {
    const spanMs = demandMs[turn % demandMs.length];
    if (spanMs === undefined) return;
    clock.after(spanMs, () => {
      isWanted = !isWanted;
      waitingSince = clock.now();
      pump();
      toggleDemand(turn + 1);
    });
  };
  toggleDemand(0);
  pump();
  clock.advance(end - clock.now());
  longestWaitMs = Math.max(longestWaitMs, isWanted && !isFull ? end - waitingSince : 0);
  return { atTheApi, grants, unanswered, longestWaitMs, unannounced };
}
