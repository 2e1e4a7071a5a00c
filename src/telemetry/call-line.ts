import type { Log } from './log.ts';

/** How a call can end. */
export const CALL_OUTCOMES = ['answered', 'shed', 'failed', 'aborted'] as const;

export type CallOutcome = (typeof CALL_OUTCOMES)[number];

/**
 * What is recorded of one call when it is over: the fields of its log line. Metrics and the live page
 * are made from it too. docs/logs.md explains each field.
 */
export interface CallLine {
  readonly id: string;
  /** The API's name; `undefined` where there is one API, and for a request that none matched. */
  readonly api?: string | undefined;
  readonly caller: string;
  readonly bucket: string | undefined;
  /** The operator's name for the bucket's credential. */
  readonly credential: string | undefined;
  readonly class: string | undefined;
  readonly priority: string | undefined;
  /** The operations that the call costs by its class or its caller; `undefined` for one. */
  readonly cost: number | undefined;
  /** Empty, like `path`, when the request could not be read that far. */
  readonly method: string;
  /** Normalised, with its secret parts masked. */
  readonly path: string;
  readonly query: string;
  /** The status that the caller was sent; 0 when it was sent nothing. */
  readonly status: number;
  readonly outcome: CallOutcome;
  readonly code: string | undefined;
  /** The error of Node's parser for a request that it rejected; absent for all others. */
  readonly parserError?: string;
  /** How often the request was sent to the API. */
  readonly attempts: number;
  /** Milliseconds in the queue and the lane, over all attempts. */
  readonly waitMs: number;
  /** `reserve`: it waited while the budget had an operation for it that was kept for others. */
  readonly waitedFor?: 'reserve' | undefined;
  /** It spent an operation that was kept for owners like its own. */
  readonly fromReserve?: true | undefined;
  /** Milliseconds of back-off before retries, in which the call did not queue. */
  readonly retryMs: number;
  /** Milliseconds from sending until the API's headers, over all attempts. */
  readonly upstreamMs: number;
  readonly totalMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The bucket's numbers when the call was over; `undefined` where they are not known. */
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly resetInMs: number | undefined;
  readonly waiting: number;
  /** The client's learned patience, if it shortened the call's longest wait. */
  readonly patienceMs: number | undefined;
  /** In observe mode: how long the call would have waited, or the code of its refusal. */
  readonly wouldWaitMs: number | undefined;
  readonly wouldShed: string | undefined;
  /** The call's span, or the caller's; named as OpenTelemetry names them in logs that are not OTLP. */
  readonly trace_id: string | undefined;
  readonly span_id: string | undefined;
}

/** Records the line of every call, once. Must not throw, and must not delay the pipeline. */
export type CallRecorder = (line: CallLine) => void;

/** Writes each line into the log. */
export function logCalls(log: Log): CallRecorder {
  return (line) => log.line(line, 'call');
}

/** One recorder that passes each line to all `recorders`, in their order. */
export function combineRecorders(recorders: readonly CallRecorder[]): CallRecorder {
  return (line) => {
    for (const recorder of recorders) recorder(line);
  };
}
