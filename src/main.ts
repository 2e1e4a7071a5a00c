#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { run } from './cli/run.ts';

// What V8 saw survive in the crowd of the first calls it would allocate old from then on, and each
// such object keeps the rest of its call from the cheap collections (docs/decisions/0010).
setFlagsFromString('--no-allocation-site-pretenuring');

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stdin: () => process.stdin,
  output: process.stdout,
  errorsToTerminal: process.stderr.isTTY,
  version: String(version),
});
