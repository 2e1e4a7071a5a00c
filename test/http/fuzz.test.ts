import { expect, test } from 'vitest';
import { runFuzz } from '../../bench/fuzz/run.ts';

/** A small set of what `npm run fuzz` does a hundred thousand times. */
test('hostile callers and a hostile API make nothing give way', async () => {
  const report = await runFuzz({ cases: 1500, seed: 7 });
  expect(report.problems).toEqual([]);
  // It is worth something only if enough of it gets through to the API, and back.
  expect(report.atApi).toBeGreaterThan(300);
  expect(report.statuses['200']).toBeGreaterThan(50);
  expect(report.lines).toBeGreaterThan(report.cases * 0.95);
});
