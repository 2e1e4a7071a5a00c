import { expect, test } from 'vitest';
import { runFuzz, type FuzzReport } from '../../bench/fuzz/run.ts';

/** The cases test something only if enough of them reach the API, and are answered. */
function isTelling({ atApi, statuses, lines, cases }: FuzzReport): boolean {
  return atApi > 300 && (statuses['200'] ?? 0) > 50 && lines > cases * 0.95;
}

/** A run on a busy machine takes minutes, and may be repeated. */
const PATIENCE = { timeout: 1_800_000 };

/** `npm run fuzz` runs a hundred thousand cases; these are a few of them. */
test('hostile callers and a hostile API break no invariant', PATIENCE, async () => {
  const reports: FuzzReport[] = [];
  // Where the time limits end too many cases, the machine is too slow for them.
  for (let slowness = 1; slowness <= 64; slowness *= 4) {
    const report = await runFuzz({ cases: 1500, seed: 7, slowness });
    expect(report.problems).toEqual([]);
    reports.push(report);
    if (isTelling(report)) return;
  }
  expect(reports.filter(isTelling)).not.toEqual([]);
});
