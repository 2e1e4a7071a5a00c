import type { Log } from './log.ts';

/**
 * What there is to say of one call when it is over: the fields of its log line, and what metrics
 * and the live feed are made of. docs/logs.md explains each.
 */
export interface CallLine {
  readonly id: string;
  readonly caller: string;
  readonly bucket: string | undefined;
  readonly class: string | undefined;
  readonly priority: string | undefined;
  /** Empty, like `path`, when the request could not be read that far. */
  readonly method: string;
  /** Normalised, its secret parts hidden. */
  readonly path: string;
  readonly query: string;
  /** What the caller was sent; 0 when it was sent nothing. */
  readonly status: number;
  readonly outcome: 'answered' | 'shed' | 'failed' | 'aborted';
  readonly code: string | undefined;
  /** How often it was sent to the API. */
  readonly attempts: number;
  /** Milliseconds in the queue and the lane, over all attempts. */
  readonly waitMs: number;
  /** Milliseconds from sending until the API's headers, over all attempts. */
  readonly upstreamMs: number;
  readonly totalMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The bucket's numbers when the call was over, as far as they are known. */
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly resetInMs: number | undefined;
  readonly waiting: number;
}

/** Takes the line of every call, once. Must not throw, and must not keep the walk. */
export type CallRecorder = (line: CallLine) => void;

/** Writes each line into the log. */
export function logCalls(log: Log): CallRecorder {
  return (line) => log.line(line, 'call');
}

/** One recorder that hands each line to all of `recorders`, in their order. */
export function toAll(recorders: readonly CallRecorder[]): CallRecorder {
  return (line) => {
    for (const recorder of recorders) recorder(line);
  };
}
