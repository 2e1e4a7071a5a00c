import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Random, Clock } from '../util/clock.ts';
import type { SocketPermits } from './ledger.ts';

/** What a bucket needs, wherever it is kept. */
export interface BucketOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** What is known of the API's clock; whoever reads the answers keeps it. */
  readonly apiClock: ApiClock;
  readonly places: SocketPermits;
  /** Waiting tickets per bucket. */
  readonly maxQueue: number;
  /** What to believe of an API that reports no limit; another one holds for old buckets too. */
  readonly belief?: { readonly limit: number; readonly periodMs: number } | undefined;
}
