import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';

/** Why a grant was given: regularly, as the first request of an unopened bucket, or as a canary. */
export type GrantKind = 'regular' | 'first' | 'canary';

/** The state of a bucket when it granted a lease. Its answer is read against this. */
export interface LeaseStart {
  readonly kind: GrantKind;
  readonly grantedAt: number;
  /** How many observations there were. An answer to the lease is newer than all of them. */
  readonly observationCount: number;
  /** How many slots had returned. The answer may not count those that return later. */
  readonly returns: number;
  /**
   * Whether the grant relied on a slot that returned by our reading of the API's clock. A 429 to it
   * shows that the reading was early.
   */
  readonly trustedClock: boolean;
}

/** A granted request that has no answer yet. */
export interface Lease extends LeaseStart, LinkedListItem<Lease> {
  /** How many operations had been lost. The answer may not count those that are lost later. */
  readonly losses: number;
  /** 1 when this lease is itself counted as lost, else 0. */
  loss: 0 | 1;
  /** Whether a slot was recorded for the lease although it has no answer. */
  recorded: boolean;
  /** `expired`: counted as lost, but its answer may still arrive. */
  state: 'in-flight' | 'expired' | 'ended';
}

/** A lease without an answer counts as spent after this time. Its request continues. */
const LEASE_MS = 10_000;

/**
 * The leases in flight, and how many operations were lost: spent without an observation.
 *
 *     in-flight ──▶ ended      answered, never sent, or lost
 *         │
 *         └───────▶ expired ──▶ ended      counted as lost, and answered later
 */
export class InFlight {
  /** In the order of their grants. */
  readonly #leases = new LinkedList<Lease>();
  #losses = 0;

  /** How many leases are in flight. */
  get size(): number {
    return this.#leases.size;
  }

  /** When the oldest lease expires; `Infinity` when none is in flight. */
  get nextExpiryAt(): number {
    const oldest = this.#leases.first;
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.grantedAt + LEASE_MS;
  }

  /** Adds a lease. Leases must be added in the order of their grants. */
  add(start: LeaseStart): Lease {
    const { kind, grantedAt, observationCount, returns, trustedClock } = start;
    const lease: Lease = {
      kind,
      grantedAt,
      observationCount,
      losses: this.#losses,
      returns,
      loss: 0,
      recorded: false,
      trustedClock,
      state: 'in-flight',
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    this.#leases.add(lease);
    return lease;
  }

  /** Ends a lease. Returns false when it had expired before; throws when it had ended before. */
  end(lease: Lease): boolean {
    if (lease.state === 'ended') throw new Error('a grant was settled twice');
    const wasInFlight = lease.state === 'in-flight';
    lease.state = 'ended';
    this.#leases.delete(lease);
    return wasInFlight;
  }

  /** Expires the oldest lease and returns it. A later answer may still {@link end} it. */
  expireOldest(): Lease | undefined {
    const lease = this.#leases.first;
    if (lease === undefined) return undefined;
    this.#leases.delete(lease);
    lease.state = 'expired';
    lease.loss = 1;
    return lease;
  }

  /** Counts an operation as lost. */
  countLost(): void {
    this.#losses++;
  }

  /** How many other operations were lost since `lease` was granted. */
  lostDuring(lease: Lease): number {
    return this.#losses - lease.losses - lease.loss;
  }
}
