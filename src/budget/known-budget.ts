/** A limit from the configuration. */
export interface ConfiguredLimit {
  readonly limit: number;
  readonly periodMs: number;
}

/** What somebody else knows of a budget. Every time is on our clock. */
export interface KnownBudget {
  /** What the API said last; `undefined` when it never did. */
  readonly reported:
    | {
        readonly limit: number;
        readonly remaining: number;
        /** When; just now unless given. */
        readonly at?: number;
        readonly resetAt?: number | undefined;
        readonly uncertaintyMs: number;
        readonly periodMs?: number | undefined;
      }
    | undefined;
  /** Until when the API told us to stay away. */
  readonly blockedUntil: number | undefined;
  /** Operations that come back, by when. */
  readonly slots: Iterable<readonly [at: number, count: number]>;
}
