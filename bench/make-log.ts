// Writes a log as a busy gateway does, of about the size asked for: node bench/make-log.ts FILE MIB
// The same arguments give the same file.
import { closeSync, openSync, writeSync } from 'node:fs';
import { makeLogLines } from '../test/support/log-fixtures.ts';

const [file, mib] = process.argv.slice(2);
const bytes = Number(mib) * 1024 * 1024;
if (file === undefined || !(bytes > 0)) {
  console.error('expected FILE MIB, such as: node bench/make-log.ts /tmp/calls.log 1024');
  process.exit(2);
}

const to = openSync(file, 'w');
let written = 0;
let batch = '';
for (const line of makeLogLines()) {
  batch += `${line}\n`;
  if (batch.length < 1 << 20) continue;
  written += writeSync(to, batch);
  batch = '';
  if (written >= bytes) break;
}
closeSync(to);
console.log(`${file}: ${written} bytes`);
