import { makeQueryMask, maskPath } from '../http/target.ts';
import type { Clock } from '../util/clock.ts';
import type { BucketName, Ledger } from '../ledger/ledger.ts';
import type { CredentialName } from '../telemetry/credential-names.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import type { Call, CallEnd } from './call.ts';

/** Records the line of a call, once, however the call ended. */
export type RecordCall = (call: Call, end: CallEnd) => void;

export interface RecordDependencies {
  /** The API's name, if there are several. */
  readonly api?: string | undefined;
  readonly recorder: CallRecorder;
  readonly ledger: Pick<Ledger, 'view'>;
  readonly clock: Clock;
  /** Patterns of paths with secret parts: `/tokens/*`. */
  readonly pathMasks: readonly string[];
  /** Names of query parameters with secret values. */
  readonly queryMasks: readonly string[];
  readonly credentialName: CredentialName;
}

export function makeRecord(dependencies: RecordDependencies): RecordCall {
  const { api, recorder, ledger, clock, pathMasks, queryMasks, credentialName } = dependencies;
  const maskQuery = makeQueryMask(queryMasks);
  /** Of several buckets, the one that decided, else the one that has the least left. */
  function bucketOf({ decisiveBucket, identity }: Call): BucketName | undefined {
    const { bucket, others } = identity;
    if (decisiveBucket !== undefined || bucket === undefined || others === undefined) {
      return decisiveBucket ?? bucket;
    }
    const left = ({ id }: BucketName): number => ledger.view(id)?.remaining ?? Infinity;
    return others.reduce((least, one) => (left(one) < left(least) ? one : least), bucket);
  }

  return function record(call, end) {
    const { caller, priority, cost, path, query, patienceMs } = call.identity;
    const { observed } = call;
    const bucket = bucketOf(call);
    const view = bucket === undefined ? undefined : ledger.view(bucket.id);
    recorder({
      id: call.id,
      api,
      caller,
      bucket: bucket?.id,
      credential: bucket === undefined ? undefined : credentialName(bucket.id),
      class: bucket?.class,
      priority,
      cost: cost === 1 ? undefined : cost,
      method: call.incoming.method ?? '',
      path: maskPath(path, pathMasks),
      query: maskQuery(query),
      status: call.outgoing.headersSent ? call.outgoing.statusCode : 0,
      outcome: end.kind,
      code: end.code,
      attempts: call.attempts,
      waitMs: tenth(call.waitMs),
      waitedFor: call.waitedFor,
      fromReserve: call.fromReserve,
      retryMs: tenth(call.retryMs),
      upstreamMs: tenth(call.upstreamMs),
      totalMs: tenth(clock.now() - call.arrivedAt),
      bytesIn: call.bytesIn,
      bytesOut: call.bytesOut,
      limit: view?.limit,
      remaining: view?.remaining,
      resetInMs: view?.resetInMs === undefined ? undefined : Math.round(view.resetInMs),
      waiting: view?.waiting ?? 0,
      patienceMs: patienceMs === undefined ? undefined : tenth(patienceMs),
      wouldWaitMs: observed?.waitMs === undefined ? undefined : tenth(observed.waitMs),
      wouldShed: observed?.shed,
      trace_id: call.trace?.traceId,
      span_id: call.trace?.spanId,
    });
  };
}

/** Milliseconds with one decimal. */
function tenth(ms: number): number {
  return Math.round(ms * 10) / 10;
}
