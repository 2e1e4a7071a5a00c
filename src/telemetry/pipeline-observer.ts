/** Why a call is attempted again. */
export type RetryCause = 'throttled' | 'stale' | 'failed';

/** The result of one attempt: an answer of the API, or the reason for which there is none. */
export const ATTEMPT_RESULTS = [
  'answered',
  'throttled',
  'unreachable',
  'reset',
  'timeout',
  'protocol',
  'invalid',
  'aborted',
] as const;

export type AttemptResult = (typeof ATTEMPT_RESULTS)[number];

/** Observes events within the calls of one API. Must not throw, and must not delay the pipeline. */
export interface PipelineObserver {
  /** A request was granted after `share` of the time that it may wait: 0 at once, 1 at its deadline. */
  granted(share: number): void;
  /** An attempt ended. */
  attempted(result: AttemptResult): void;
  /** The API accepted an operation: its answer does not throttle. */
  accepted(bucket: string, className: string): void;
  /** The API throttled an attempt. */
  throttled(className: string): void;
  /** The call asks for a grant for another attempt. */
  retry(because: RetryCause): void;
}
