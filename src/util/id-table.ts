/**
 * Things that are found by their number, and come and go with every call. Whoever numbers them does
 * so in order and gives no number twice; no two that are here at once may be 2³² apart.
 *
 * It is no Map for the reason that a `LinkedList` is no Set: a Map's outgrown tables keep what was in them
 * from being garbage (docs/decisions/0009).
 */
export class IdTable<T extends { readonly number: number }> {
  /** By the number's lower 32 bits: of more of them V8 would make a string each time. */
  readonly #items: { [lowerBits: number]: T } = {};
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Everything, in no order that means anything; a list of its own. */
  get all(): T[] {
    return Object.values(this.#items);
  }

  get(number: number): T | undefined {
    const item = this.#items[number >>> 0];
    return item?.number === number ? item : undefined;
  }

  /** Throws when another thing has the place of its number. */
  add(item: T): void {
    const place = item.number >>> 0;
    if (this.#items[place] !== undefined) throw new Error(`the number ${item.number} came again`);
    this.#items[place] = item;
    this.#size++;
  }

  /** Takes `item` out, if it is there; says whether it was. */
  delete(item: T): boolean {
    const place = item.number >>> 0;
    if (this.#items[place] !== item) return false;
    delete this.#items[place];
    this.#size--;
    return true;
  }

  clear(): void {
    for (const item of this.all) this.delete(item);
  }
}
