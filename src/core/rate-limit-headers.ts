/** When something happens: at a moment the API's clock names, or a while after the answer. */
export type Reset =
  | {
      readonly kind: 'instant';
      /** Milliseconds since 1970, UTC, on the API's clock. */
      readonly atMs: number;
      /** How coarse the stamp is: 1000 for whole seconds, 0 when it carries a fraction. */
      readonly resolutionMs: number;
    }
  | {
      readonly kind: 'delay';
      readonly afterMs: number;
      readonly resolutionMs: number;
    };

/** What one answer's headers say of the budget; a field that is absent was absent or doubtful. */
export interface RateLimitReading {
  readonly limit?: number;
  readonly remaining?: number;
  readonly reset?: Reset;
  readonly retryAfter?: Reset;
  /** Names of the headers that were there but could not be understood. */
  readonly doubtful?: readonly string[];
}
