import type { BucketSnapshot } from '../ledger/ledger.ts';
import type { CallLine } from '../telemetry/call-line.ts';
import type { FeedCall } from '../telemetry/recent-activity.ts';

/** A call as the admin API shows it: its log line's fields, and when it was over. */
export interface CallAnswer extends CallLine {
  /** Counts the replica's calls. */
  readonly sequence: number;
  /** ISO 8601. */
  readonly time: string;
}

export function callAnswer({ sequence, at, line }: FeedCall): CallAnswer {
  return { sequence, time: new Date(at).toISOString(), ...line };
}

/** Whole milliseconds: nobody reads more. */
export function roundedBucket(bucket: BucketSnapshot): BucketSnapshot {
  const { resetInMs, blockedForMs, etaMs } = bucket;
  return {
    ...bucket,
    ...(resetInMs === undefined ? {} : { resetInMs: Math.round(resetInMs) }),
    ...(blockedForMs === undefined ? {} : { blockedForMs: Math.round(blockedForMs) }),
    ...(etaMs === undefined ? {} : { etaMs: Math.round(etaMs) }),
  };
}
