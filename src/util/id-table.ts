/**
 * A table of items by their integer id, `number`: adding, finding and removing an item take O(1).
 *
 * Ids must be assigned in ascending order and never reused. The ids in the table at the same time
 * must span less than 2³².
 *
 * It holds items that are added and removed with every call. It is not a Map for the reason that a
 * `LinkedList` is not a Set: the old tables of a Map keep their entries from being collected
 * (docs/decisions/0009).
 */
export class IdTable<T extends { readonly number: number }> {
  /**
   * By the lower 32 bits of the id: V8 would convert a larger number to a string at each access.
   */
  readonly #items: { [lowerBits: number]: T } = {};
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** All items in no particular order, as a new array. */
  get all(): T[] {
    return Object.values(this.#items);
  }

  get(number: number): T | undefined {
    const item = this.#items[number >>> 0];
    return item?.number === number ? item : undefined;
  }

  /** Throws if the table has an item whose id has the same lower 32 bits. */
  add(item: T): void {
    const lowerBits = item.number >>> 0;
    if (this.#items[lowerBits] !== undefined) {
      throw new Error(`expected an unused id, got ${item.number}`);
    }
    this.#items[lowerBits] = item;
    this.#size++;
  }

  /** Removes `item`, if it is in the table; returns whether it was. */
  delete(item: T): boolean {
    const lowerBits = item.number >>> 0;
    if (this.#items[lowerBits] !== item) return false;
    delete this.#items[lowerBits];
    this.#size--;
    return true;
  }

  clear(): void {
    for (const item of this.all) this.delete(item);
  }
}
