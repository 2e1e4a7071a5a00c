/** How many distinct times a chunk has at most. */
const CHUNK_ENTRIES = 64;
/** The largest number of chunks. */
const MAX_CHUNKS = 32;
/** With more chunks than this, times are rounded up, to one of {@link TIMES_PER_PERIOD}. */
const CROWDED_CHUNKS = 12;
const TIMES_PER_PERIOD = 1024;

/**
 * The spent slots, sorted by the time at which the API returns them.
 *
 * Slots with the same time share an entry, so a fixed window of any size is one entry. Where a large
 * limit needs more than some 800 entries, times are rounded up. That bounds the number of entries, and
 * delays each slot by at most a thousandth of the period.
 *
 * Neighbouring entries form a chunk. Slots are added near the end and removed at the start, so most
 * calls touch the last or the first chunk. In Redis, a step reads only the chunks that it touches.
 */
export interface Slots {
  /** How many slots are spent. */
  size: number;
  /** The time of the latest slot; it has no meaning when none is spent. */
  lastAt: number;
  /** How many entries of the first chunk were removed. */
  head: number;
  /** The chunks, earliest first. A chunk that is stored in Redis and was not read is its number. */
  chunks: (SlotChunk | number)[];
  /** The earliest time of each chunk; parallel to `chunks`. */
  firsts: number[];
  /** The number of slots of each chunk; parallel to `chunks`. */
  totals: number[];
  /** Whether it differs from what is stored in Redis. */
  isChanged: boolean;
  /** How many chunks were made, which is the number of the last one. */
  made: number;
  /** Reads a stored chunk by its number. In this process every chunk is in memory. */
  read: ((id: number) => SlotChunk) | undefined;
}

/** Times of return, ascending, and how many slots return at each. */
export interface SlotChunk {
  id: number;
  times: number[];
  counts: number[];
  /** Whether it differs from what is stored in Redis. */
  isChanged: boolean;
}

export function makeSlots(): Slots {
  return {
    size: 0,
    lastAt: 0,
    head: 0,
    chunks: [],
    firsts: [],
    totals: [],
    isChanged: true,
    made: 0,
    read: undefined,
  };
}

/** Adds `count` slots that return at `at`. `spanMs` is how far ahead such times can be. */
export function addSlots(slots: Slots, at: number, count: number, spanMs: number): void {
  const { chunks } = slots;
  const grain = spanMs / TIMES_PER_PERIOD;
  const isCrowded = chunks.length > CROWDED_CHUNKS;
  const time = isCrowded && grain > 0 ? Math.ceil(at / grain) * grain : at;
  addEntry(slots, time, count);
  if (chunks.length > MAX_CHUNKS) mergeFirstChunk(slots);
}

function addEntry(slots: Slots, time: number, count: number): void {
  const { chunks, firsts, totals } = slots;
  slots.lastAt = slots.size === 0 ? time : Math.max(slots.lastAt, time);
  slots.size += count;
  slots.isChanged = true;
  let place = chunks.length - 1;
  while (place > 0 && (firsts[place] ?? 0) > time) place--;
  if (place < 0) {
    // Arrays of the right length: most buckets have one entry, and there may be thousands of them.
    slots.chunks = [makeChunk(slots, time, count)];
    slots.firsts = [time];
    slots.totals = [count];
    return;
  }
  const chunk = chunkAt(slots, place);
  const { times, counts } = chunk;
  const first = place === 0 ? slots.head : 0;
  let index = times.length;
  while (index > first && (times[index - 1] ?? 0) > time) index--;
  if (index > first && times[index - 1] === time) {
    counts[index - 1] = (counts[index - 1] ?? 0) + count;
  } else if (times.length < CHUNK_ENTRIES) {
    insertAt(times, index, time);
    insertAt(counts, index, count);
  } else if (index === CHUNK_ENTRIES) {
    insertChunk(slots, place + 1, time, count);
    return;
  } else if (first > 0) {
    // There is room before the head.
    for (let i = first; i < index; i++) {
      times[i - 1] = times[i] ?? 0;
      counts[i - 1] = counts[i] ?? 0;
    }
    times[index - 1] = time;
    counts[index - 1] = count;
    slots.head--;
  } else {
    cutChunk(slots, place, index);
    times.push(time);
    counts.push(count);
  }
  chunk.isChanged = true;
  totals[place] = (totals[place] ?? 0) + count;
  if (index === first) firsts[place] = time;
}

/** Removes the slots that return at or before `time`, and returns their number. */
export function takeSlotsUntil(slots: Slots, time: number): number {
  const before = slots.size;
  while ((slots.firsts[0] ?? Infinity) <= time) {
    if ((slots.firsts[1] ?? Infinity) <= time) {
      dropFirstChunk(slots);
    } else {
      const { times, counts } = chunkAt(slots, 0);
      let taken = 0;
      let head = slots.head;
      while (head < times.length && (times[head] ?? 0) <= time) {
        taken += counts[head] ?? 0;
        head++;
      }
      moveHead(slots, times, head, taken);
    }
  }
  return before - slots.size;
}

/** Removes the earliest slots beyond `count`: the API has already returned them. */
export function keepLastSlots(slots: Slots, count: number): void {
  while (slots.size > count && slots.chunks.length > 0) {
    let excess = slots.size - count;
    if ((slots.totals[0] ?? 0) <= excess) {
      dropFirstChunk(slots);
    } else {
      const chunk = chunkAt(slots, 0);
      const { times, counts } = chunk;
      let taken = 0;
      let head = slots.head;
      while ((counts[head] ?? Infinity) <= excess) {
        taken += counts[head] ?? 0;
        excess -= counts[head] ?? 0;
        head++;
      }
      if (excess > 0 && head < times.length) {
        counts[head] = (counts[head] ?? 0) - excess;
        chunk.isChanged = true;
      }
      moveHead(slots, times, head, taken + excess);
    }
  }
}

/** Returns how many slots return before `time`. */
export function countSlotsBefore(slots: Slots, time: number): number {
  const { firsts, totals } = slots;
  let count = 0;
  let place = 0;
  while ((firsts[place + 1] ?? Infinity) <= time) {
    count += totals[place] ?? 0;
    place++;
  }
  if ((firsts[place] ?? Infinity) >= time) return count;
  const { times, counts } = chunkAt(slots, place);
  let index = place === 0 ? slots.head : 0;
  while (index < times.length && (times[index] ?? 0) < time) {
    count += counts[index] ?? 0;
    index++;
  }
  return count;
}

/** Returns the time of the `n`th slot (from 0); `undefined` when fewer are spent. */
export function nthSlotAt(slots: Slots, n: number): number | undefined {
  if (n >= slots.size) return undefined;
  let left = n;
  let place = 0;
  while (left >= (slots.totals[place] ?? Infinity)) {
    left -= slots.totals[place] ?? 0;
    place++;
  }
  const { times, counts } = chunkAt(slots, place);
  let index = place === 0 ? slots.head : 0;
  while (left >= (counts[index] ?? Infinity)) {
    left -= counts[index] ?? 0;
    index++;
  }
  return times[index];
}

/** Moves all times by `ms`, because the clock on which they are stored changed. */
export function moveSlots(slots: Slots, ms: number): void {
  slots.isChanged = true;
  slots.lastAt += ms;
  for (let place = 0; place < slots.chunks.length; place++) {
    slots.firsts[place] = (slots.firsts[place] ?? 0) + ms;
    const chunk = chunkAt(slots, place);
    for (let i = 0; i < chunk.times.length; i++) chunk.times[i] = (chunk.times[i] ?? 0) + ms;
    chunk.isChanged = true;
  }
}

/** Removes all slots. */
export function clearSlots(slots: Slots): void {
  slots.isChanged = true;
  slots.size = 0;
  slots.head = 0;
  slots.chunks = [];
  slots.firsts = [];
  slots.totals = [];
}

/** Returns the times of return and the number of slots of each, earliest first. */
export function slotEntries(slots: Slots): [at: number, count: number][] {
  const entries: [number, number][] = [];
  for (let place = 0; place < slots.chunks.length; place++) {
    const { times, counts } = chunkAt(slots, place);
    const first = place === 0 ? slots.head : 0;
    for (let i = first; i < times.length; i++) entries.push([times[i] ?? 0, counts[i] ?? 0]);
  }
  return entries;
}

/** Returns a chunk, which it reads if it is only stored. */
export function chunkAt(slots: Slots, place: number): SlotChunk {
  const known = slots.chunks[place];
  if (known !== undefined && typeof known !== 'number') return known;
  const { read } = slots;
  const isStored = known !== undefined && read !== undefined;
  const chunk = isStored ? read(known) : makeChunk(slots, 0, 0);
  slots.chunks[place] = chunk;
  return chunk;
}

function makeChunk(slots: Slots, time: number, count: number): SlotChunk {
  slots.made++;
  return { id: slots.made, times: [time], counts: [count], isChanged: true };
}

/** Makes a chunk of one entry the one at `place`. */
function insertChunk(slots: Slots, place: number, time: number, count: number): void {
  insertAt(slots.chunks, place, makeChunk(slots, time, count));
  insertAt(slots.firsts, place, time);
  insertAt(slots.totals, place, count);
}

/** Moves the entries of a chunk from `index` on into a chunk of their own. */
function cutChunk(slots: Slots, place: number, index: number): void {
  const { times, counts } = chunkAt(slots, place);
  insertChunk(slots, place + 1, times[index] ?? 0, counts[index] ?? 0);
  const rest = chunkAt(slots, place + 1);
  let total = counts[index] ?? 0;
  for (let i = index + 1; i < times.length; i++) {
    rest.times.push(times[i] ?? 0);
    rest.counts.push(counts[i] ?? 0);
    total += counts[i] ?? 0;
  }
  while (times.length > index) {
    times.pop();
    counts.pop();
  }
  slots.totals[place] = (slots.totals[place] ?? 0) - total;
  slots.totals[place + 1] = total;
}

/** Lets the slots of the first chunk return with the next slot: late is safe, early is not. */
function mergeFirstChunk(slots: Slots): void {
  const total = slots.totals[0] ?? 0;
  dropFirstChunk(slots);
  const next = chunkAt(slots, 0);
  next.counts[0] = (next.counts[0] ?? 0) + total;
  next.isChanged = true;
  slots.totals[0] = (slots.totals[0] ?? 0) + total;
  slots.size += total;
}

function dropFirstChunk(slots: Slots): void {
  slots.isChanged = true;
  slots.size -= slots.totals[0] ?? 0;
  slots.head = 0;
  slots.chunks.shift();
  slots.firsts.shift();
  slots.totals.shift();
}

/** Removes the entries of the first chunk before `head`, which have `taken` slots. */
function moveHead(slots: Slots, times: readonly number[], head: number, taken: number): void {
  if (head >= times.length) {
    dropFirstChunk(slots);
    return;
  }
  slots.isChanged = true;
  slots.head = head;
  slots.size -= taken;
  slots.totals[0] = (slots.totals[0] ?? 0) - taken;
  slots.firsts[0] = times[head] ?? 0;
}

function insertAt<T>(list: T[], index: number, value: T): void {
  list.push(value);
  for (let i = list.length - 1; i > index; i--) list[i] = list[i - 1] ?? value;
  list[index] = value;
}
