import { readFileSync } from 'node:fs';
import { z } from 'zod';

/**
 * Prints "N passed, N failed" of Vitest's JSON report: of the file that it is given, or of the last
 * run. A test file that could not be loaded counts as one failure. ", N skipped" follows when tests
 * were not run. Exits with 1 when a test failed or none ran.
 */

const LAST_RUN = new URL('../node_modules/.cache/test-report.json', import.meta.url);

const reportShape = z.object({
  success: z.boolean(),
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numPendingTests: z.number(),
  testResults: z.array(
    z.object({ status: z.string(), assertionResults: z.array(z.object({ status: z.string() })) }),
  ),
});

function readReport(): z.output<typeof reportShape> | undefined {
  try {
    return reportShape.parse(JSON.parse(readFileSync(process.argv[2] ?? LAST_RUN, 'utf8')));
  } catch (error) {
    process.stderr.write(`no report of a test run: ${String(error)}\n`);
    return undefined;
  }
}

const report = readReport();
const unloadable = (report?.testResults ?? []).filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
);
const passed = report?.numPassedTests ?? 0;
const failed = (report?.numFailedTests ?? 0) + unloadable.length;
const skipped = report?.numPendingTests ?? 0;
const more = skipped === 0 ? '' : `, ${skipped} skipped`;
process.stdout.write(`${passed} passed, ${failed} failed${more}\n`);
if (report?.success !== true || passed === 0 || failed > 0) process.exitCode = 1;
