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
  /** Absent: that of the account, which is the credential alone if it has no account. */
  readonly scope?: LimitScope;
  /** How many operations a request costs in this bucket; of the class itself, as the class says. */
  readonly cost?: CostRule;
  /** Of a limit over the classes: those that it counts; all of them unless given. */
  readonly classes?: readonly string[];
}

/** Credentials that share the API's budgets. */
export interface Account {
  readonly name: string;
  /** The beginnings of bucket ids: hashes, or `own` for the gateway's token. */
  readonly credentials: readonly string[];
}
