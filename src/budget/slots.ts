/** The largest number of distinct times. Beyond it, neighbours are merged at the later time. */
const MAX_ENTRIES = 4096;

/**
 * The spent slots, sorted by the time at which the API returns them.
 *
 * Slots with the same time share an entry, so a fixed window of any size is one entry. Where a large
 * limit needs too many entries, times are rounded up to a grain of the period. That bounds the number
 * of entries, and delays each slot by at most a two-thousandth of the period.
 */
export class Slots {
  /** Times of return, ascending; parallel to `#counts`. Entries before `#head` are removed. */
  #times: number[] = [];
  #counts: number[] = [];
  #head = 0;
  #size = 0;

  /** How many slots are spent. */
  get size(): number {
    return this.#size;
  }

  /** When the next slot returns; `undefined` when none is spent. */
  get first(): number | undefined {
    return this.#times[this.#head];
  }

  /** Adds a slot that returns at `at`. `spanMs` is how far ahead such times can be. */
  add(at: number, spanMs: number): void {
    const isCrowded = this.#times.length - this.#head >= MAX_ENTRIES / 2;
    const grain = spanMs / (MAX_ENTRIES / 2);
    const time = isCrowded && grain > 0 ? Math.ceil(at / grain) * grain : at;
    let index = this.#times.length;
    while (index > this.#head && (this.#times[index - 1] ?? 0) > time) index--;
    this.#size++;
    if (index > this.#head && this.#times[index - 1] === time) {
      this.#counts[index - 1] = (this.#counts[index - 1] ?? 0) + 1;
    } else if (index === this.#times.length) {
      this.#times.push(time);
      this.#counts.push(1);
    } else {
      this.#times.splice(index, 0, time);
      this.#counts.splice(index, 0, 1);
    }
    if (this.#times.length - this.#head > MAX_ENTRIES) this.#mergeFirst();
  }

  /** Removes the slots that return at or before `time`, and returns their number. */
  takeUntil(time: number): number {
    let taken = 0;
    for (;;) {
      const first = this.first;
      if (first === undefined || first > time) break;
      taken += this.#dropFirst();
    }
    return taken;
  }

  /** Removes the earliest slots beyond `count`: the API has already returned them. */
  keepLast(count: number): void {
    while (this.#size > count && this.#head < this.#times.length) {
      const first = this.#counts[this.#head] ?? 0;
      const excess = this.#size - count;
      if (first > excess) {
        this.#counts[this.#head] = first - excess;
        this.#size = count;
      } else {
        this.#dropFirst();
      }
    }
  }

  /** Returns how many slots return before `time`. */
  countBefore(time: number): number {
    let count = 0;
    for (let i = this.#head; i < this.#times.length; i++) {
      if ((this.#times[i] ?? 0) >= time) break;
      count += this.#counts[i] ?? 0;
    }
    return count;
  }

  /** Returns the time of the `n`th slot (from 0); `undefined` when fewer are spent. */
  nth(n: number): number | undefined {
    let left = n;
    for (let i = this.#head; i < this.#times.length; i++) {
      left -= this.#counts[i] ?? 0;
      if (left < 0) return this.#times[i];
    }
    return undefined;
  }

  /** Moves all times by `ms`, because the clock on which they are stored changed. */
  move(ms: number): void {
    for (let i = this.#head; i < this.#times.length; i++) {
      this.#times[i] = (this.#times[i] ?? 0) + ms;
    }
  }

  clear(): void {
    this.#times = [];
    this.#counts = [];
    this.#head = 0;
    this.#size = 0;
  }

  /** Times of return and counts, earliest first. */
  entries(): [at: number, count: number][] {
    return this.#times.slice(this.#head).map((at, i) => [at, this.#counts[this.#head + i] ?? 0]);
  }

  /** Merges the two earliest entries at the later time, because an early return would be unsafe. */
  #mergeFirst(): void {
    const next = this.#head + 1;
    this.#counts[next] = (this.#counts[next] ?? 0) + (this.#counts[this.#head] ?? 0);
    this.#head = next;
    this.#compact();
  }

  #dropFirst(): number {
    const count = this.#counts[this.#head] ?? 0;
    this.#head++;
    this.#size -= count;
    this.#compact();
    return count;
  }

  #compact(): void {
    // Copying once the removed entries are the larger half keeps removal O(1) on average.
    if (this.#head < 32 || this.#head * 2 < this.#times.length) return;
    this.#times = this.#times.slice(this.#head);
    this.#counts = this.#counts.slice(this.#head);
    this.#head = 0;
  }
}
