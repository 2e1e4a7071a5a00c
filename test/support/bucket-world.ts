import { Bucket, type GrantKind, type Lease } from '../../src/budget/bucket.ts';
import type { Timer } from '../../src/util/clock.ts';
import type { Observation } from '../../src/budget/observation.ts';
import { FakeClock } from './fake-clock.ts';
import { makeLimiter, type LimiterOptions, type Semantics } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';

/** What becomes of one request, from its grant on. */
export interface Fate {
  readonly kind:
    /** It reaches the API and its answer reaches us. */
    | 'answered'
    /** It never reaches the API, and we know. */
    | 'unsent'
    /** It never reaches the API, and we cannot know. */
    | 'lost-before'
    /** It reaches the API, and its answer never comes. */
    | 'lost-after';
  readonly toApiMs: number;
  readonly backMs: number;
}

export interface WorldOptions extends LimiterOptions {
  readonly semantics: Semantics;
  /** One a grant, over and over. */
  readonly fates: readonly Fate[];
  readonly inFlight: number;
  readonly runMs: number;
  /** The API's clock less ours, and how much less and more than that we hold possible. */
  readonly offsetMs?: number;
  readonly belowMs?: number;
  readonly aboveMs?: number;
  /** By turns: so long somebody waits, so long nobody does. */
  readonly demandMs?: readonly number[];
  /** Probes and canaries are answered, and within a second, whatever their fate. */
  readonly testsArrive?: boolean;
  /** What the API says instead of the truth. */
  readonly lie?: (said: Observation, number: number) => Observation;
}

export interface SentRequest {
  readonly at: number;
  readonly kind: GrantKind;
  readonly accepted: boolean;
}

export interface WorldResult {
  /** What reached the API, in that order. */
  readonly atTheApi: readonly SentRequest[];
  readonly grants: number;
  /** Grants that had no answer within ten seconds: the bucket had to guess. */
  readonly unanswered: number;
  /** The longest time that somebody waited, there was room, and nothing was granted. */
  readonly longestStretchMs: number;
  /** How often a request went at a moment of which no alarm had told. */
  readonly unannounced: number;
}

/** A bucket before an API whose every delay and loss is chosen by the test, with exact stamps. */
export function runWorld(options: WorldOptions): WorldResult {
  const { semantics, fates, inFlight, runMs, demandMs = [], lie = (said) => said } = options;
  const { offsetMs = 0, belowMs = 0, aboveMs = 0 } = options;
  const clock = new FakeClock({ startMs: 5_000_000 });
  const limiter = makeLimiter(semantics, options);
  const random = seededRandom(7);
  const bucket = new Bucket(clock.now());
  const offset = { low: offsetMs - belowMs, high: offsetMs + aboveMs };
  const atTheApi: SentRequest[] = [];
  const end = clock.now() + runMs;
  let [grants, out, unanswered, longestStretchMs, unannounced] = [0, 0, 0, 0, 0];
  let wanted = true;
  let full = false;
  let waitingSince = clock.now();
  let alarm: Timer | undefined;
  let glance: Timer | undefined;

  const settle = (act: (now: number) => void): void => {
    const now = clock.now();
    bucket.advance(now, offset);
    act(now);
    out--;
    pump();
  };

  const send = (lease: Lease, { kind, toApiMs, backMs }: Fate, number: number): void => {
    const slow = kind === 'answered' && toApiMs + backMs >= 10_000;
    if (slow || kind === 'lost-before' || kind === 'lost-after') unanswered++;
    if (kind === 'unsent') {
      clock.after(toApiMs, () => settle(() => bucket.unsent(lease)));
      return;
    }
    if (kind === 'lost-before') {
      clock.after(toApiMs + backMs, () => settle((now) => bucket.lost(lease, now)));
      return;
    }
    clock.after(toApiMs, () => {
      const said = limiter.take(clock.now() + offsetMs);
      atTheApi.push({ at: clock.now(), kind: lease.kind, accepted: said.allowed });
      clock.after(backMs, () =>
        settle((now) => {
          if (kind === 'lost-after') return bucket.lost(lease, now);
          const observation: Observation = {
            status: said.allowed ? 200 : 429,
            limit: said.limit,
            remaining: said.remaining,
            resetAt: said.resetAtMs,
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
    alarm?.cancel();
    glance?.cancel();
    if (!wanted) return;
    // While every place was taken nobody was kept waiting by the bucket.
    if (full && out < inFlight) waitingSince = now;
    while (out < inFlight && bucket.offer(now) !== undefined) {
      const lease = bucket.grant(now);
      longestStretchMs = Math.max(longestStretchMs, now - waitingSince);
      waitingSince = now;
      const number = grants++;
      out++;
      const fate = fates[number % fates.length];
      if (fate === undefined) throw new Error('expected at least one fate');
      const isTest = lease.kind !== 'regular' && options.testsArrive === true;
      send(lease, isTest ? { kind: 'answered', toApiMs: 100, backMs: 100 } : fate, number);
    }
    full = out >= inFlight;
    if (full) return;
    const wakeAt = bucket.nextWakeAt(now);
    alarm = clock.after(wakeAt - now, pump);
    glance = clock.after((wakeAt - now) * 0.7, () => {
      const between = clock.now();
      bucket.advance(between, offset);
      if (between < wakeAt && bucket.offer(between) !== undefined) unannounced++;
    });
  };

  const toggle = (turn: number): void => {
    const span = demandMs[turn % demandMs.length];
    if (span === undefined) return;
    clock.after(span, () => {
      wanted = !wanted;
      waitingSince = clock.now();
      pump();
      toggle(turn + 1);
    });
  };
  toggle(0);
  pump();
  clock.advance(end - clock.now());
  longestStretchMs = Math.max(longestStretchMs, wanted && !full ? end - waitingSince : 0);
  return { atTheApi, grants, unanswered, longestStretchMs, unannounced };
}
