/** What a {@link Heap} holds: an item carries its own index, so removal needs no search. */
export interface HeapItem {
  /** Owned by the heap; −1 while the item is in no heap. */
  heapIndex: number;
}

/** A binary heap: adding an item, removing any item and changing its key take O(log n). */
export class Heap<T extends HeapItem> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** `before(a, b)` returns whether `a` must leave the heap before `b`. */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The item that leaves next; it stays in the heap. */
  get first(): T | undefined {
    return this.#items[0];
  }

  /** All items, in no particular order. They must not be added or removed while they are read. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** The first item, of the first `count` in their order, that `isWanted`. All items stay. */
  find(count: number, isWanted: (item: T) => boolean): T | undefined {
    // The places of the items that may be next: the children of those that were looked at.
    const places = [0];
    for (let i = 0; i < count; i++) {
      let next = 0;
      for (let j = 1; j < places.length; j++) {
        const [a, b] = [this.#items[places[j] ?? 0], this.#items[places[next] ?? 0]];
        if (a !== undefined && (b === undefined || this.#before(a, b))) next = j;
      }
      const place = places[next] ?? 0;
      const item = this.#items[place];
      if (item === undefined || isWanted(item)) return item;
      places[next] = 2 * place + 1;
      places.push(2 * place + 2);
    }
    return undefined;
  }

  add(item: T): void {
    this.#rise(item, this.#items.push(item) - 1);
  }

  /** Removes and returns the first item. */
  take(): T | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Removes `item` from any position; has no effect if it is not in the heap. */
  remove(item: T): void {
    const at = item.heapIndex;
    if (this.#items[at] !== item) return;
    const last = this.#items.pop();
    item.heapIndex = -1;
    if (last === undefined || last === item) return;
    this.#settle(last, at);
  }

  /** Restores the order after the key of `item` changed; has no effect if it is not in the heap. */
  moved(item: T): void {
    if (this.#items[item.heapIndex] === item) this.#settle(item, item.heapIndex);
  }

  clear(): void {
    for (const item of this.#items) item.heapIndex = -1;
    this.#items.length = 0;
  }

  #settle(item: T, at: number): void {
    this.#rise(item, at);
    if (item.heapIndex === at) this.#sink(item, at);
  }

  #rise(item: T, from: number): void {
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#items[parentAt];
      if (parent === undefined || !this.#before(item, parent)) break;
      this.#put(parent, at);
      at = parentAt;
    }
    this.#put(item, at);
  }

  #sink(item: T, from: number): void {
    let at = from;
    for (;;) {
      const leftAt = 2 * at + 1;
      const left = this.#items[leftAt];
      if (left === undefined) break;
      const right = this.#items[leftAt + 1];
      const rightFirst = right !== undefined && this.#before(right, left);
      const child = rightFirst ? right : left;
      if (!this.#before(child, item)) break;
      this.#put(child, at);
      at = rightFirst ? leftAt + 1 : leftAt;
    }
    this.#put(item, at);
  }

  #put(item: T, at: number): void {
    this.#items[at] = item;
    item.heapIndex = at;
  }
}
