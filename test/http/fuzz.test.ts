import { expect, test } from 'vitest';
import { runFuzz } from '../../bench/fuzz/run.ts';

/** `npm run fuzz` runs a hundred thousand cases; these are a few of them. */
test('hostile callers and a hostile API break no invariant', async () => {
  const report = await runFuzz({ cases: 1500, seed: 7 });
  expect(report.problems).toEqual([]);
  // The cases test something only if enough of them reach the API, and are answered.
  expect(report.atApi).toBeGreaterThan(300);
  expect(report.statuses['200']).toBeGreaterThan(50);
  expect(report.lines).toBeGreaterThan(report.cases * 0.95);
});
