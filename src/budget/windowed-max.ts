/**
 * The maximum of a sliding window over the most recent values.
 *
 * The window holds the last `span` to 2 × `span` values. An extreme value is forgotten in time,
 * unlike in a plain maximum, and no list of values is stored.
 */
export interface WindowedMax {
  previous: number | undefined;
  current: number | undefined;
  count: number;
}

export function makeWindowedMax(): WindowedMax {
  return { previous: undefined, current: undefined, count: 0 };
}

/** Returns the maximum; `undefined` before the first value. */
export function maxOf({ previous, current }: WindowedMax): number | undefined {
  if (previous === undefined || current === undefined) return current ?? previous;
  return Math.max(previous, current);
}

/** Adds a value. `span`: how many values the maximum covers at least. */
export function addToMax(max: WindowedMax, value: number, span: number): void {
  max.current = Math.max(value, max.current ?? value);
  max.count++;
  if (max.count < span) return;
  max.previous = max.current;
  max.current = undefined;
  max.count = 0;
}
