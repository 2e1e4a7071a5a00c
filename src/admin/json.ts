import type { BucketSnapshot } from '../ledger/ledger.ts';
import type { CredentialName } from '../telemetry/credential-names.ts';
import type { CallLine } from '../telemetry/call-line.ts';
import type { RecentCall } from '../telemetry/recent-activity.ts';

/** The JSON of calls and buckets, in `/calls`, `/buckets` and `/events`. */

/** A call: the fields of its log line, its number, and the time at which it ended. */
export interface CallJson extends CallLine {
  /** The number of the call at this replica, from 1. */
  readonly sequence: number;
  /** ISO 8601. */
  readonly time: string;
}

export function callJson({ sequence, at, line }: RecentCall): CallJson {
  return { sequence, time: new Date(at).toISOString(), ...line };
}

/** A bucket, with the operator's name for its credential if it has one. */
export interface BucketJson extends BucketSnapshot {
  readonly credential?: string;
}

/** A bucket with its times rounded to whole milliseconds. */
export function bucketJson(bucket: BucketSnapshot, credentialName: CredentialName): BucketJson {
  const credential = credentialName(bucket.id);
  const { resetInMs, blockedForMs, etaMs, oldestWaitMs } = bucket;
  return {
    ...bucket,
    ...(credential === undefined ? {} : { credential }),
    ...(resetInMs === undefined ? {} : { resetInMs: Math.round(resetInMs) }),
    ...(blockedForMs === undefined ? {} : { blockedForMs: Math.round(blockedForMs) }),
    ...(etaMs === undefined ? {} : { etaMs: Math.round(etaMs) }),
    ...(oldestWaitMs === undefined ? {} : { oldestWaitMs: Math.round(oldestWaitMs) }),
  };
}
