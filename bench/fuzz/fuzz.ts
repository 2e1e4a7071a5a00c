import { parseArgs } from 'node:util';
import { runFuzz } from './run.ts';

/**
 * `npm run fuzz -- [--cases 100000] [--seed 1]`: hostile callers and a hostile API against a
 * gateway over real sockets. Prints what came of it; exits with 1 when anything gave way.
 */
const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
  },
});
const startedAt = performance.now();
const report = await runFuzz({
  cases: Number(values.cases),
  seed: Number(values.seed),
  onProgress: (done) => process.stderr.write(`\r${done} cases`),
});
process.stderr.write('\r');
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
console.log(`${report.cases} cases with seed ${values.seed} in ${seconds} s`);
console.log(`${report.atApi} requests reached the API, ${report.lines} call lines`);
console.log(`answers by status: ${JSON.stringify(report.statuses)}`);
for (const problem of report.problems) console.log(`PROBLEM ${problem}`);
console.log(report.problems.length === 0 ? 'nothing gave way' : 'something gave way');
process.exitCode = report.problems.length === 0 ? 0 : 1;
