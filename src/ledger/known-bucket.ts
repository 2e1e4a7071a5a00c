import { Slots } from '../budget/slots.ts';
import type { BucketName } from './ledger.ts';
import type { LocalObservation } from './local-times.ts';

/**
 * What one replica knows of a bucket by itself. It outlives an outage, a flush or a failover of
 * Redis, so it is what the bucket is rebuilt from. Every time is on `Clock.now`.
 */
export class KnownBucket {
  readonly name: BucketName;
  /** What the API said last, as far as this replica heard; `undefined` when it never did. */
  said: Said | undefined;
  /** Until when the API told us to stay away. */
  blockedUntil: number | undefined;
  /** The shared state that this replica saw last, and how far it had come. */
  lineage = '';
  revision = 0;
  /** Slots that this replica spent, by when they come back. */
  readonly own = new Slots();
  /** Those of them that the lineage does not know of. */
  readonly since = new Slots();

  constructor(name: BucketName) {
    this.name = name;
  }

  /** An answer to one of our operations came. `isShared`: a step will tell the shared state. */
  learn(observation: LocalObservation, now: number, isShared: boolean): void {
    const { status, resetAt } = observation;
    const comesBack = status !== 429 && resetAt !== undefined && resetAt > now;
    if (comesBack) {
      const spanMs = Math.max(this.said?.periodMs ?? 0, resetAt - now);
      for (const slots of isShared ? [this.own] : [this.own, this.since]) {
        slots.takeUntil(now);
        slots.add(resetAt, spanMs);
      }
    }
    // What the shared state makes of it comes back with the step's numbers.
    if (!isShared) this.#hear(observation, now);
  }

  #hear(observation: LocalObservation, now: number): void {
    const { limit, remaining, resetAt, retryAt, status, uncertaintyMs, stamp } = observation;
    if (status === 429 && retryAt !== undefined && retryAt > now) this.blockedUntil = retryAt;
    if (remaining === undefined) return;
    const isAhead = resetAt !== undefined && resetAt > now;
    this.said = {
      limit: Math.max(limit ?? this.said?.limit ?? 1, remaining, 1),
      remaining,
      resetAt: isAhead ? resetAt : undefined,
      at: now,
      uncertaintyMs,
      periodMs: isAhead ? Math.max(this.said?.periodMs ?? 0, resetAt - now) : this.said?.periodMs,
      stamp,
    };
  }
}

export interface Said {
  readonly limit: number;
  readonly remaining: number;
  readonly resetAt?: number | undefined;
  readonly at: number;
  readonly uncertaintyMs: number;
  readonly periodMs?: number | undefined;
  readonly stamp?: number | undefined;
}
