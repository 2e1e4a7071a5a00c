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

  get held(): number {
    return this.#held.size;
  }

  get untold(): number {
    return this.#settled.length;
  }

  hold(grant: Grant, lease: RemoteLease, { isOffer = false } = {}): void {
    this.#held.hold(grant, lease);
    if (isOffer) this.#toConfirm.add(lease);
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
    return this.#settled.splice(0, most);
  }

  /** What the next step confirms, or all there is. */
  nextHeld(which: 'all' | 'to confirm'): RemoteLease[] {
    const next = which === 'all' ? this.#held.all.map(({ known }) => known) : [...this.#toConfirm];
    this.#toConfirm.clear();
    return next;
  }

  /** The step that told these is void. */
  tellAnew(settled: readonly Settlement[]): void {
    this.#settled.unshift(...settled);
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
