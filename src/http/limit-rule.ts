import type { CostRule } from './cost-rule.ts';

/**
 * Whose operations one bucket counts: those of one credential, those of all credentials of its account
 * (of the credential alone if it has no account), or all.
 */
export type LimitScope = 'credential' | 'account' | 'api';

/**
 * A limit that is stated for a class, or over all classes. It is assumed until the API reports its
 * own.
 */
export interface LimitRule {
  /** Names the bucket; absent for the class's own bucket. */
  readonly name?: string;
  readonly limit: number;
  readonly periodMs: number;
  readonly scope: LimitScope;
  /** How many operations a request costs in this bucket; of the class itself, as the class says. */
  readonly cost?: CostRule;
}

/** Credentials that share the API's budgets. */
export interface Account {
  readonly name: string;
  /** The hashes that bucket ids have. */
  readonly credentials: readonly string[];
}
