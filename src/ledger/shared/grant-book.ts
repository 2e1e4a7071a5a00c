import type { GrantKind } from '../../budget/bucket.ts';
import { HeldGrants } from '../held-grants.ts';
import type { Grant, Outcome, Ticket } from '../ledger.ts';
import type { TransferredGrant, LocalObservation } from '../transfer.ts';
import { Prefetch } from './prefetch.ts';
import type { Ids } from './ids.ts';
import type { PrefetchOrigin, Settlement, SharedLease } from './lease.ts';
import { toHeld, toLease, type StepGranted, type StepHeld, type StepPrefetch } from './wire.ts';

/** What one step reports of grants, kept in case that it has to be reported again. */
export interface GrantReport {
  readonly settled: readonly Settlement[];
  readonly held: readonly StepHeld[];
  /** The held leases that were prefetched, whose use is reported once. */
  readonly uses: readonly (readonly [lease: SharedLease, from: PrefetchOrigin])[];
  /** Prefetched leases, with those used here that the shared state does not know of. */
  readonly prefetched: number;
  /** How many more are requested. */
  readonly wants: number;
  /** The last call since the step before that used one. */
  readonly usedBy: Ticket | undefined;
}

/**
 * One bucket's grants at this replica: those held, those prefetched, and what became of those that
 * ended, until a step has reported it.
 */
export class GrantBook {
  readonly #ids: Ids;
  readonly #held = new HeldGrants<SharedLease>();
  readonly #prefetch = new Prefetch();
  /** Granted by another replica's step; a step of ours has yet to confirm that we use them. */
  readonly #toConfirm = new Set<SharedLease>();
  readonly #settled: Settlement[] = [];
  #unreportedUses = 0;
  #usedBy: Ticket | undefined;

  constructor(ids: Ids) {
    this.#ids = ids;
  }

  /** How many grants are held here, or prefetched. */
  get size(): number {
    return this.#held.size + this.#prefetch.count;
  }

  /** How many grants ended that no step has reported. */
  get unreported(): number {
    return this.#settled.length;
  }

  get prefetched(): number {
    return this.#prefetch.count;
  }

  /** Whether a prefetched lease may be used. */
  get hasUsable(): boolean {
    return this.#prefetch.isUsable;
  }

  /** Whether it is time to request more prefetched leases. */
  get isLow(): boolean {
    return this.#prefetch.isLow;
  }

  /** How many prefetched leases were used, and may have ended, without a step reporting it. */
  get unreportedUses(): number {
    return this.#unreportedUses;
  }

  /** Counts a call for the forecast of how many leases to prefetch. */
  countCall(now: number): void {
    this.#prefetch.countCall(now);
  }

  /** Holds a grant of a step. `isOffer`: another replica's step. */
  hold(grant: Grant, entry: StepGranted, { isOffer }: { isOffer: boolean }): void {
    const lease = toLease(entry, grant.grantedAt);
    this.#held.hold(grant, lease);
    if (isOffer) this.#toConfirm.add(lease);
  }

  /** Holds a grant that uses a prefetched lease; there must be one. */
  holdPrefetched(grant: Grant): void {
    const { observation, trusted, losses, returns } = this.#prefetch.take();
    const lease = this.#makeLease('regular', 1, grant.grantedAt, observation, trusted);
    lease.prefetched = { losses, returns };
    this.#held.hold(grant, lease);
    this.#unreportedUses++;
    this.#usedBy = grant.ticket;
  }

  /**
   * Replaces a grant that is not used yet by one that begins now. The shared state has yet to learn of
   * the new lease; one step reports it, and that the old one was renewed.
   */
  renew(grant: Grant, now: number): Grant {
    const lease = this.#held.take(grant);
    const renewed: Grant = { ...grant, grantedAt: now };
    if (lease.prefetched !== undefined) {
      this.#held.hold(renewed, { ...lease, grantedAt: now });
      return renewed;
    }
    this.#toConfirm.delete(lease);
    this.#settled.push({ lease, outcome: 'renewed', observed: undefined, random: 0 });
    const next = this.#makeLease('regular', lease.cost, now, lease.observation, false);
    this.#held.hold(renewed, next);
    this.#toConfirm.add(next);
    return renewed;
  }

  /** Holds a grant of another ledger. */
  adopt({ grant, kind, cost }: TransferredGrant): void {
    this.#held.hold(grant, this.#makeLease(kind, cost, grant.grantedAt, -1, false));
  }

  /** Whether the lease is held here, or has ended without a step reporting it. */
  has(id: string): boolean {
    if (this.#held.all.some(({ known }) => known.id === id)) return true;
    return this.#settled.some(({ lease }) => lease.id === id);
  }

  /** Ends a grant; throws when it is not held. */
  settle(
    grant: Grant,
    outcome: Outcome['kind'],
    observed: LocalObservation | undefined,
    random: number,
  ): SharedLease {
    // A throttled answer is newer than what the prefetched leases rely on.
    if (observed?.status === 429) this.recall();
    const lease = this.#held.take(grant);
    this.#toConfirm.delete(lease);
    this.#settled.push({ lease, outcome, observed, random });
    return lease;
  }

  /** Returns a step's grant that cannot be used here. */
  returnGrant(entry: StepGranted, now: number): void {
    const lease = toLease(entry, now);
    this.#settled.push({ lease, outcome: 'unsent', observed: undefined, random: 0 });
  }

  /** Uses no prefetched lease any more: the next step returns them. */
  recall(): void {
    this.#prefetch.recall();
  }

  /**
   * What a step reports now: at most `most` settlements, and the leases held. Unless it `declares`,
   * these are only those to confirm, and those prefetched that have been in use for a while.
   */
  report(declares: boolean, most: number, now: number): GrantReport {
    const wants = this.#prefetch.request(now);
    const settled = this.#settled.splice(0, most);
    for (const { lease } of settled) if (lease.prefetched !== undefined) this.#unreportedUses--;
    const leases = declares ? this.#all : this.#newlyHeld(now - SHORT_MS);
    this.#toConfirm.clear();
    const held = leases.map((lease) => toHeld(lease, now));
    const uses: [SharedLease, PrefetchOrigin][] = [];
    for (const lease of leases) {
      if (lease.prefetched === undefined) continue;
      uses.push([lease, lease.prefetched]);
      lease.prefetched = undefined;
      this.#unreportedUses--;
    }
    const prefetched = this.#prefetch.count + this.#unreportedUses;
    const usedBy = this.#usedBy;
    this.#usedBy = undefined;
    return { settled, held, uses, prefetched, wants, usedBy };
  }

  /** A step succeeded that brought these prefetched leases, if any. */
  receivePrefetched(prefetched: StepPrefetch | undefined): void {
    this.#prefetch.receive(prefetched);
  }

  /** The epoch ended, and prefetched leases with it. A failed step's report has to be repeated. */
  restore(report: GrantReport | undefined): void {
    this.#prefetch.clear();
    if (report === undefined) return;
    const { settled, uses } = report;
    this.#settled.unshift(...settled);
    for (const { lease } of settled) if (lease.prefetched !== undefined) this.#unreportedUses++;
    for (const [lease, from] of uses) lease.prefetched = from;
    this.#unreportedUses += uses.length;
  }

  /** Counts of one lineage mean nothing in the next: these leases are older than all of it. */
  changeLineage(): void {
    for (const lease of [...this.#all, ...this.#settled.map((one) => one.lease)]) {
      lease.observation = -1;
      lease.prefetched = undefined;
    }
    this.#unreportedUses = 0;
  }

  /** Operations spent here that no step has reported, with those that the step under way reports. */
  unshared(underWay: readonly Settlement[]): number {
    const all = [...underWay, ...this.#settled];
    let operations = 0;
    for (const { outcome, lease } of all) {
      if (outcome === 'answered' || outcome === 'lost') operations += lease.cost;
    }
    return operations;
  }

  handOver(): TransferredGrant[] {
    return this.#held.all.map(({ grant, known }) => ({
      grant,
      kind: known.kind,
      cost: known.cost,
    }));
  }

  get #all(): SharedLease[] {
    return this.#held.all.map(({ known }) => known);
  }

  /** Leases to confirm, and prefetched ones in use since `until` or before. */
  #newlyHeld(until: number): SharedLease[] {
    const leases = [...this.#toConfirm];
    if (this.#unreportedUses === 0) return leases;
    for (const { known } of this.#held.all) {
      if (known.prefetched !== undefined && known.grantedAt <= until) leases.push(known);
    }
    return leases;
  }

  #makeLease(
    kind: GrantKind,
    cost: number,
    grantedAt: number,
    observation: number,
    trusted: boolean,
  ): SharedLease {
    const id = this.#ids.idOf(this.#ids.next());
    return { id, kind, cost, observation, trusted, grantedAt, prefetched: undefined };
  }
}

/** A prefetched lease that ends within this time is reported as ended, and not as held before. */
const SHORT_MS = 20;
