/** One measured thing, with what it is held against. */
export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What must hold; absent for figures that are only told. */
  readonly goal?: { readonly at: 'most' | 'least'; readonly bound: number };
}

export function reached({ value, goal }: Figure): boolean {
  if (goal === undefined) return true;
  return goal.at === 'most' ? value <= goal.bound : value >= goal.bound;
}

/** A table for people, the missed goals marked. */
export function tableOf(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { what, value, unit, goal } = figure;
    const bound = goal === undefined ? '' : `at ${goal.at} ${goal.bound}${unit}`;
    const mark = goal === undefined ? '' : reached(figure) ? 'yes' : 'NO';
    return [what, `${rounded(value)}${unit}`, bound, mark];
  });
  const all = [['what', 'measured', 'goal', 'reached'], ...rows];
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...all.map((row) => (row[column] ?? '').length)),
  );
  return all
    .map((row) =>
      row
        .map((cell, i) => (i === 1 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function rounded(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.1 ? 4 : 3);
}
