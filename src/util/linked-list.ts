/** What a {@link LinkedList} keeps: it writes each item's neighbours into the item, to find it again. */
export interface LinkedListItem<T> {
  /** Owned by the roll, like all three. */
  isLinked: boolean;
  previous: T | undefined;
  next: T | undefined;
}

/**
 * Who is there, in the order of coming; whoever leaves does so in O(1), from anywhere. An item is on
 * one roll at a time.
 *
 * It is there for what comes and goes with every call, where a Set costs a quarter of a call: the
 * tables that it outgrows lead on to one another, and what was in them is garbage only when all are.
 * Here nothing that left leads anywhere (docs/decisions/0009).
 */
export class LinkedList<T extends LinkedListItem<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who came first of those that are there. */
  get first(): T | undefined {
    return this.#first;
  }

  /** Everybody, in order; a list of its own, so that those on it may leave while it is read. */
  get all(): T[] {
    const all: T[] = [];
    for (let item = this.#first; item !== undefined; item = item.next) all.push(item);
    return all;
  }

  /** Adds `item` at the end; throws when it is on a roll already. */
  add(item: T): void {
    if (item.isLinked) throw new Error('an item was added to a roll that it or another one has');
    item.isLinked = true;
    item.previous = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#size++;
  }

  /** Takes `item` out, if it is there; says whether it was. */
  delete(item: T): boolean {
    if (!item.isLinked) return false;
    const { previous, next } = item;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    item.isLinked = false;
    item.previous = undefined;
    item.next = undefined;
    this.#size--;
    return true;
  }
}
