import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import type { Grant } from './ledger.ts';

/** The grants that a ledger gave and that are not settled, each with what the ledger knows of it. */
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

  /** Takes a grant off the books, to settle it; throws when it is not on them. */
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

export interface HeldEntry<Known> {
  readonly grant: Grant;
  readonly known: Known;
}

interface Held<Known> extends HeldEntry<Known>, LinkedListItem<Held<Known>> {}
