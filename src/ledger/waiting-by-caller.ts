/** Callers named one by one; the rest are `other`, so that no label grows without bound. */
const CALLERS_SHOWN = 100;

/** Waiting tickets by caller: the busiest by name, the rest together. */
export function waitingByCaller(
  tickets: Iterable<{ readonly caller: string }>,
): Record<string, number> {
  const counts = new Map<string, number>();
  for (const { caller } of tickets) counts.set(caller, (counts.get(caller) ?? 0) + 1);
  const busiest = [...counts].sort(([, a], [, b]) => b - a);
  const shown = Object.fromEntries(busiest.slice(0, CALLERS_SHOWN));
  const rest = busiest.slice(CALLERS_SHOWN).reduce((sum, [, count]) => sum + count, 0);
  return rest === 0 ? shown : { ...shown, other: (shown['other'] ?? 0) + rest };
}
