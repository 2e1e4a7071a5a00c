/**
 * How fast an API served over how fast it can, from when half of each further budget was served.
 *
 * It is measured from the middle of the first budget to the middle of the last: wherever in its
 * window a budget is spent, both lie at the same place, and no part of a window counts as a whole
 * one.
 */
export function utilisationOf(halfAt: readonly number[], periodMs: number): number {
  const [first] = halfAt;
  const last = halfAt.at(-1);
  if (first === undefined || last === undefined || last === first) return 0;
  return ((halfAt.length - 1) * periodMs) / (last - first);
}
