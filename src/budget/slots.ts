/** Beyond this many distinct release times, neighbours share one: the later. */
const MAX_ENTRIES = 4096;

/**
 * The slots that are out, by the time at which the API gives them back, earliest first.
 *
 * Slots that come back at the same time share an entry, so a fixed window of any size is one entry.
 * Where a large limit would need too many, release times are rounded up to a grain of the period,
 * which holds each slot back by at most a four-thousandth of the period and keeps this bounded.
 */
export class Slots {
  /** Release times, ascending; parallel to `#counts`. Entries before `#head` are gone. */
  #times: number[] = [];
  #counts: number[] = [];
  #head = 0;
  #size = 0;

  /** How many slots are out. */
  get size(): number {
    return this.#size;
  }

  /** When the next slot comes back. */
  get first(): number | undefined {
    return this.#times[this.#head];
  }

  /** Adds a slot that comes back at `at`; `spanMs` is how far ahead such times can lie. */
  add(at: number, spanMs: number): void {
    const crowded = this.#times.length - this.#head >= MAX_ENTRIES / 2;
    const grain = spanMs / (MAX_ENTRIES / 2);
    const time = crowded && grain > 0 ? Math.ceil(at / grain) * grain : at;
    let place = this.#times.length;
    while (place > this.#head && (this.#times[place - 1] ?? 0) > time) place--;
    this.#size++;
    if (place > this.#head && this.#times[place - 1] === time) {
      this.#counts[place - 1] = (this.#counts[place - 1] ?? 0) + 1;
    } else if (place === this.#times.length) {
      this.#times.push(time);
      this.#counts.push(1);
    } else {
      this.#times.splice(place, 0, time);
      this.#counts.splice(place, 0, 1);
    }
    if (this.#times.length - this.#head > MAX_ENTRIES) this.#mergeFirst();
  }

  /** Takes out every slot that came back at or before `time`; says how many. */
  takeUntil(time: number): number {
    let taken = 0;
    for (;;) {
      const first = this.first;
      if (first === undefined || first > time) break;
      taken += this.#dropFirst();
    }
    return taken;
  }

  /** Keeps at most `count` slots: the earliest go, the API has them back already. */
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

  /** How many slots come back before `time`. */
  countBefore(time: number): number {
    let count = 0;
    for (let i = this.#head; i < this.#times.length; i++) {
      if ((this.#times[i] ?? 0) >= time) break;
      count += this.#counts[i] ?? 0;
    }
    return count;
  }

  /** When the `nth` slot (from 0) comes back; `undefined` when fewer are out. */
  nth(n: number): number | undefined {
    let left = n;
    for (let i = this.#head; i < this.#times.length; i++) {
      left -= this.#counts[i] ?? 0;
      if (left < 0) return this.#times[i];
    }
    return undefined;
  }

  /** Moves every release time by `ms`: the clock they are kept on changed. */
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

  /** Release times and counts, earliest first. */
  entries(): [at: number, count: number][] {
    return this.#times.slice(this.#head).map((at, i) => [at, this.#counts[this.#head + i] ?? 0]);
  }

  /** Joins the two earliest entries at the later one's time: late is safe, early is not. */
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
    // The dead part is cut off once it is the larger, so that dropping stays cheap on average.
    if (this.#head < 32 || this.#head * 2 < this.#times.length) return;
    this.#times = this.#times.slice(this.#head);
    this.#counts = this.#counts.slice(this.#head);
    this.#head = 0;
  }
}
