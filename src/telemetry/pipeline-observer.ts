/** Why a call asks for another grant. */
export type RetryCause = 'throttled' | 'stale' | 'failed';

/** Hears what happens within a call, when it happens. Must not throw, and must not keep the walk. */
export interface PipelineObserver {
  /** The API answered an attempt with 429. */
  throttled(className: string): void;
  /** The call goes round again. */
  retry(because: RetryCause): void;
}
