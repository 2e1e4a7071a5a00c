import type { GrantKind } from '../../budget/bucket.ts';
import type { HeldGrant } from '../transfer.ts';
import { HeldGrants } from '../held-grants.ts';
import type { Ids } from './ids.ts';
import type { LocalObservation } from '../local-times.ts';
import type { Grant, Outcome } from '../ledger.ts';
import { toHeld, type FromStock, type RemoteLease, type Settlement } from './step-batch.ts';
import type { StepGranted, StepHeld } from './wire.ts';
import type { StockMark } from './prefetch.ts';

/** What one step tells of leases, for the case that it has to be told anew. */
export interface LeasesTold {
  readonly settled: readonly Settlement[];
  readonly held: readonly StepHeld[];
  /** Those of the held that came from stock, which is told once. */
  readonly fromStock: readonly (readonly [lease: RemoteLease, from: FromStock])[];
}

/** One bucket's grants that this replica holds, and what became of those that it held. */
export class LeasesHere {
  readonly #ids: Ids;
  readonly #held = new HeldGrants<RemoteLease>();
  /** Taken from another replica's step, which does not know yet that they were. */
  readonly #toConfirm = new Set<RemoteLease>();
  /** Ended, and not yet told to the shared state. */
  #settled: Settlement[] = [];
  #fromStock = 0;

  constructor(ids: Ids) {
    this.#ids = ids;
  }

  get held(): number {
    return this.#held.size;
  }

  get untold(): number {
    return this.#settled.length;
  }

  /** How many, held or ended, came from stock without the shared state knowing that yet. */
  get fromStock(): number {
    return this.#fromStock;
  }

  /** A step granted it. */
  hold(grant: Grant, entry: StepGranted, { isOffer }: { isOffer: boolean }): void {
    const lease = toLease(entry, grant.grantedAt);
    this.#held.hold(grant, lease);
    if (isOffer) this.#toConfirm.add(lease);
  }

  /** It was granted here, from stock. */
  holdFromStock(grant: Grant, { observation, trusted, losses, returns }: StockMark): void {
    const lease = this.#makeLease('slot', grant.grantedAt, observation, trusted);
    lease.fromStock = { losses, returns };
    this.#held.hold(grant, lease);
    this.#fromStock++;
  }

  /** Another ledger granted it. */
  adopt(grant: Grant, kind: GrantKind): void {
    this.#held.hold(grant, this.#makeLease(kind, grant.grantedAt, -1, false));
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
    random: number,
  ): RemoteLease {
    const lease = this.#held.take(grant);
    this.#toConfirm.delete(lease);
    this.#settled.push({ lease, outcome, said, random });
    return lease;
  }

  /** A step granted it, and it cannot be used here. */
  giveBack(entry: StepGranted, now: number): void {
    const lease = toLease(entry, now);
    this.#settled.push({ lease, outcome: 'unsent', said: undefined, random: 0 });
  }

  /**
   * What a step tells now: so many settlements at most, and all that is held or, of that, what it
   * has to confirm and what came from stock a while ago.
   */
  tell(which: 'all' | 'news', most: number, now: number): LeasesTold {
    const settled = this.#settled.splice(0, most);
    for (const { lease } of settled) if (lease.fromStock !== undefined) this.#fromStock--;
    const leases = which === 'all' ? this.#all : this.#news(now - SHORT_MS);
    this.#toConfirm.clear();
    const held = leases.map((lease) => toHeld(lease, now));
    const fromStock: [RemoteLease, FromStock][] = [];
    for (const lease of leases) {
      if (lease.fromStock === undefined) continue;
      fromStock.push([lease, lease.fromStock]);
      lease.fromStock = undefined;
      this.#fromStock--;
    }
    return { settled, held, fromStock };
  }

  /** The step that told this is void. */
  tellAnew({ settled, fromStock }: LeasesTold): void {
    this.#settled.unshift(...settled);
    for (const { lease } of settled) if (lease.fromStock !== undefined) this.#fromStock++;
    for (const [lease, from] of fromStock) lease.fromStock = from;
    this.#fromStock += fromStock.length;
  }

  /** What was counted within a lineage means nothing in another one; these are older than all of it. */
  changeLineage(): void {
    for (const lease of [...this.#all, ...this.#settled.map((one) => one.lease)]) {
      lease.observation = -1;
      lease.fromStock = undefined;
    }
    this.#fromStock = 0;
  }

  /** Operations that were spent here and that no step has told of, beside those under way. */
  unshared(underWay: readonly Settlement[]): number {
    const all = [...underWay, ...this.#settled];
    return all.filter(({ outcome }) => outcome !== 'unsent').length;
  }

  handOver(): HeldGrant[] {
    return this.#held.all.map(({ grant, known }) => ({ grant, kind: known.kind }));
  }

  get #all(): RemoteLease[] {
    return this.#held.all.map(({ known }) => known);
  }

  #news(until: number): RemoteLease[] {
    const news = [...this.#toConfirm];
    if (this.#fromStock === 0) return news;
    for (const { known } of this.#held.all) {
      if (known.fromStock !== undefined && known.grantedAt <= until) news.push(known);
    }
    return news;
  }

  #makeLease(kind: GrantKind, grantedAt: number, observation: number, trusted: boolean) {
    return toLease([this.#ids.idOf(this.#ids.next()), kind, observation, trusted], grantedAt);
  }
}

/** What came from stock and ends within this time is told of as ended, and not as held before. */
const SHORT_MS = 20;

function toLease([id, kind, observation, trusted]: StepGranted, grantedAt: number): RemoteLease {
  return { id, kind, observation, trusted, grantedAt, fromStock: undefined };
}
