import { Slots } from '../core/slots.ts';
import type { BucketName } from './ledger.ts';

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

  /** One operation of ours, which the API gives back at `backAt`. */
  spent(backAt: number, now: number, isShared: boolean): void {
    const spanMs = Math.max(this.said?.periodMs ?? 0, backAt - now);
    this.own.takeUntil(now);
    this.own.add(backAt, spanMs);
    if (isShared) return;
    this.since.takeUntil(now);
    this.since.add(backAt, spanMs);
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
