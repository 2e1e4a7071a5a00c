import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import type { Grant } from './ledger.ts';

/**
 * The grants of a ledger that are not settled, each with what the ledger keeps for it. It is found by
 * the grant itself in a WeakMap, which lets ended calls be collected (docs/decisions/0009).
 */
export class HeldGrants<Known extends object> {
  readonly #byGrant = new WeakMap<Grant, Held<Known>>();
  readonly #all = new LinkedList<Held<Known>>();

  get size(): number {
    return this.#all.size;
  }

  /** In the order of {@link hold}. */
  get all(): HeldEntry<Known>[] {
    return this.#all.all;
  }

  hold(grant: Grant, known: Known): void {
    const held = { grant, known, isLinked: false, previous: undefined, next: undefined };
    this.#byGrant.set(grant, held);
    this.#all.add(held);
  }

  /** Removes a grant, to settle it; throws when it is not held. */
  take(grant: Grant): Known {
    const held = this.#byGrant.get(grant);
    if (held === undefined) throw new Error('a grant was settled twice, or by the wrong ledger');
    this.#byGrant.delete(grant);
    this.#all.delete(held);
    return held.known;
  }

  clear(): void {
    for (const { grant } of this.all) this.take(grant);
  }
}

/** A grant that is not settled, and what the ledger keeps for it. */
export interface HeldEntry<Known> {
  readonly grant: Grant;
  readonly known: Known;
}

interface Held<Known> extends HeldEntry<Known>, LinkedListItem<Held<Known>> {}
