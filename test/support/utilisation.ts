/**
 * How fast an API served over how fast it can, from when half of each further budget was served.
 *
 * It is measured from the middle of the first budget to the middle of the last: wherever in its
 * window a budget is spent, both lie at the same place, and no part of a window counts as a whole
 * one. With `endAt`, when the measuring ended, an API that fell idle before counts until then.
 */
export function utilisationOf(
  halfAt: readonly number[],
  periodMs: number,
  endAt = Number.NEGATIVE_INFINITY,
): number {
  const [first] = halfAt;
  const last = halfAt.at(-1);
  if (first === undefined || last === undefined || last === first) return 0;
  // While budgets are spent, the last middle lies at most one and a half periods back.
  return ((halfAt.length - 1) * periodMs) / (Math.max(last, endAt - 1.5 * periodMs) - first);
}
