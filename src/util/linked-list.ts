/** What a {@link LinkedList} holds: an item carries its own links, so removal needs no search. */
export interface LinkedListItem<T> {
  /** Whether the item is in a list. The list owns this field and both links. */
  isLinked: boolean;
  previous: T | undefined;
  next: T | undefined;
}

/**
 * An intrusive doubly linked list: adding an item at any position, and removing it from any, take
 * O(1). An item can be in one list at a time.
 *
 * It holds objects that are added and removed with every call. A Set would cost a quarter of the
 * CPU time of a call. V8 replaces the table of a Set again and again, and each old table points to
 * the next one. Once an old table is in the old generation, it keeps the entries of all later
 * tables from being collected. A removed item of this list points to no other item
 * (docs/decisions/0009).
 */
export class LinkedList<T extends LinkedListItem<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The item that was added first. */
  get first(): T | undefined {
    return this.#first;
  }

  /** The item that was added last. */
  get last(): T | undefined {
    return this.#last;
  }

  /** All items in order, as a new array: items may be removed while it is read. */
  get all(): T[] {
    const all: T[] = [];
    for (let item = this.#first; item !== undefined; item = item.next) all.push(item);
    return all;
  }

  /** Adds `item` at the end. Throws if it is in a list already. */
  add(item: T): void {
    this.insertAfter(this.#last, item);
  }

  /** Adds `item` behind another one of the list, or as the first. Throws if it is in a list. */
  insertAfter(previous: T | undefined, item: T): void {
    if (item.isLinked) {
      throw new Error('expected an item that is in no linked list, got one that is in a list');
    }
    const next = previous === undefined ? this.#first : previous.next;
    item.isLinked = true;
    item.previous = previous;
    item.next = next;
    if (previous === undefined) this.#first = item;
    else previous.next = item;
    if (next === undefined) this.#last = item;
    else next.previous = item;
    this.#size++;
  }

  /** Removes `item`, if it is in the list; returns whether it was. */
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
