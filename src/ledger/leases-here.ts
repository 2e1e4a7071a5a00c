import type { HeldGrant } from './handover.ts';
import { HeldGrants } from './held-grants.ts';
import type { LocalObservation } from './local-times.ts';
import type { Grant, Outcome } from './ledger.ts';
import type { RemoteLease, Settlement } from './step-batch.ts';

/** One bucket's grants that this replica holds, and what became of those that it held. */
export class LeasesHere {
  readonly #held = new HeldGrants<RemoteLease>();
  /** Taken from another replica's step, which does not know yet that they were. */
  readonly #toConfirm = new Set<RemoteLease>();
  /** Ended, and not yet told to the shared state. */
  #settled: Settlement[] = [];
  #fromStock = 0;

  get held(): number {
    return this.#held.size;
  }

  get untold(): number {
    return this.#settled.length;
  }

  /** How many of both came from stock and were not told of. */
  get fromStock(): number {
    return this.#fromStock;
  }

  hold(grant: Grant, lease: RemoteLease, { isOffer = false } = {}): void {
    this.#held.hold(grant, lease);
    if (isOffer) this.#toConfirm.add(lease);
    if (lease.fromStock !== undefined) this.#fromStock++;
  }

  /** Whether it is held here, or was until a moment ago. */
  has(id: string): boolean {
    if (this.#held.all.some(({ known }) => known.id === id)) return true;
    return this.#settled.some(({ lease }) => lease.id === id);
  }

  /** Takes it off the books here; throws when it is not on them. */
  settle(
    grant: Grant,
    outcome: Outcome['kind'],
    said: LocalObservation | undefined,
    chance: number,
  ): RemoteLease {
    const lease = this.#held.take(grant);
    this.#toConfirm.delete(lease);
    this.#settled.push({ lease, outcome, said, chance });
    return lease;
  }

  /** It was granted, and cannot be used here. */
  giveBack(lease: RemoteLease): void {
    this.#settled.push({ lease, outcome: 'unsent', said: undefined, chance: 0 });
  }

  nextSettled(most: number): Settlement[] {
    const next = this.#settled.splice(0, most);
    this.#fromStock -= howManyFromStock(next);
    return next;
  }

  /** What the next step declares: all there is. */
  all(): RemoteLease[] {
    this.#toConfirm.clear();
    return this.#held.all.map(({ known }) => known);
  }

  /** What the next step confirms, and what came from stock by `until` and is still out. */
  nextHeld(until: number): RemoteLease[] {
    const next = [...this.#toConfirm];
    this.#toConfirm.clear();
    if (this.#fromStock === 0) return next;
    for (const { known } of this.#held.all) {
      if (known.fromStock !== undefined && known.grantedAt <= until) next.push(known);
    }
    return next;
  }

  /** These are in the step that goes now, as leases like any other. */
  told(held: readonly RemoteLease[]): void {
    for (const lease of held) {
      if (lease.fromStock === undefined) continue;
      lease.fromStock = undefined;
      this.#fromStock--;
    }
  }

  /** The step that told these is void. */
  tellAnew(settled: readonly Settlement[]): void {
    this.#settled.unshift(...settled);
    this.#fromStock += howManyFromStock(settled);
  }

  /** Observations are counted within a lineage; in another one these are older than all of them. */
  changeLineage(): void {
    for (const { known } of this.#held.all) known.observation = -1;
  }

  /** Operations that were spent here and that no step has told of, beside those under way. */
  unshared(underWay: readonly Settlement[]): number {
    const all = [...underWay, ...this.#settled];
    return all.filter(({ outcome }) => outcome !== 'unsent').length;
  }

  handOver(): HeldGrant[] {
    return this.#held.all.map(({ grant, known }) => ({ grant, kind: known.kind }));
  }
}

function howManyFromStock(settled: readonly Settlement[]): number {
  return settled.reduce((sum, { lease }) => sum + (lease.fromStock === undefined ? 0 : 1), 0);
}
