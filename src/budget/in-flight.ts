import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';

/** What a grant is: an ordinary slot, a first look at an unknown bucket, or a test of a belief. */
export type GrantKind = 'slot' | 'probe' | 'canary';

export interface LeaseStart {
  readonly kind: GrantKind;
  readonly grantedAt: number;
  /** How many observations there were: an answer to it is newer than all of them. */
  readonly observationCount: number;
  /** How many slots had come back by the clock: its answer may miss those that came after. */
  readonly returns: number;
  /** Whether it relied on our reading of the API's clock: a 429 to it says that we were early. */
  readonly trustedClock: boolean;
}

/** A grant that has no answer yet. */
export interface Lease extends LeaseStart, LinkedListItem<Lease> {
  /** How many had been spent without an answer: its answer may miss those that came after. */
  readonly losses: number;
  /** 1 when it is one of them itself. */
  loss: 0 | 1;
  /** Whether its slot is on the books, though its answer is not. */
  recorded: boolean;
  /** `expired`: counted as spent without an answer, which may still come. */
  state: 'in-flight' | 'expired' | 'ended';
}

/** After this long without headers a lease counts as spent; its request goes on. */
const LEASE_MS = 10_000;

/**
 * The grants that are out and have no answer yet, and how many were lost: spent without one.
 *
 *     out ──▶ ended        its answer's headers came, it was never sent, or none will come
 *      └────▶ expired ──▶ ended        counted as lost, and its answer came after all
 */
export class InFlight {
  /** In the order in which they were granted. */
  readonly #leases = new LinkedList<Lease>();
  #losses = 0;

  /** How many are out. */
  get size(): number {
    return this.#leases.size;
  }

  /** When the oldest expires, on our clock; infinitely far when none is out. */
  get nextExpiryAt(): number {
    const oldest = this.#leases.first;
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.grantedAt + LEASE_MS;
  }

  /** Oldest first. */
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

  /** Takes a lease off the books; says whether it was still on them. */
  end(lease: Lease): boolean {
    if (lease.state === 'ended') throw new Error('a grant was settled twice');
    const wasInFlight = lease.state === 'in-flight';
    lease.state = 'ended';
    this.#leases.delete(lease);
    return wasInFlight;
  }

  /** Takes the oldest off the books as one that is lost; its answer may still {@link end} it. */
  expireOldest(): Lease | undefined {
    const lease = this.#leases.first;
    if (lease === undefined) return undefined;
    this.#leases.delete(lease);
    lease.state = 'expired';
    lease.loss = 1;
    return lease;
  }

  /** Counts an operation that was spent without an answer that tells of it. */
  countLost(): void {
    this.#losses++;
  }

  /** How many were lost while this one was out: its answer may not have counted them yet. */
  lostDuring(lease: Lease): number {
    return this.#losses - lease.losses - lease.loss;
  }
}
