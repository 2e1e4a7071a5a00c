import type { GrantKind } from '../../budget/bucket.ts';
import type { Outcome } from '../ledger.ts';
import type { LocalObservation } from '../transfer.ts';

/** The bucket's counters when leases were prefetched, for the answers to their requests. */
export interface PrefetchMark {
  /** Number of observations, counted within a lineage. */
  readonly observation: number;
  /** Whether something had just refilled by the clock, which an answer then tests. */
  readonly trusted: boolean;
  /** How many operations had been spent without an answer, and how many slots had refilled. */
  readonly losses: number;
  readonly returns: number;
}

/** A lease in the shared state, as this replica keeps it until a step has reported how it ended. */
export interface SharedLease {
  readonly id: string;
  readonly kind: GrantKind;
  /** How many operations it spends. */
  readonly cost: number;
  /** Number of observations at its grant, counted within a lineage; −1 for one of another lineage. */
  observation: number;
  readonly trusted: boolean;
  readonly grantedAt: number;
  /** For a prefetched lease, until a step has reported that it is in use. */
  prefetched: PrefetchOrigin | undefined;
}

/** The counters that the answer to a prefetched lease is judged by, beside those of {@link SharedLease}. */
export type PrefetchOrigin = Pick<PrefetchMark, 'losses' | 'returns'>;

/** A settlement that no step has reported. Times are on this process's clock. */
export interface Settlement {
  readonly lease: SharedLease;
  /** `renewed`: the same step has the lease in its place. */
  readonly outcome: Outcome['kind'] | 'renewed';
  readonly observed: LocalObservation | undefined;
  /** From 0 up to but without 1: spreads the retries if the API reports no time. */
  readonly random: number;
}
