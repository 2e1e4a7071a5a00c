/** Why a call is attempted again. */
export type RetryCause = 'throttled' | 'stale' | 'failed';

/** Observes events within a call. Must not throw, and must not delay the pipeline. */
export interface PipelineObserver {
  /** The API throttled an attempt. */
  throttled(className: string): void;
  /** The call asks for a grant for another attempt. */
  retry(because: RetryCause): void;
}
