#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { run } from './cli/run.ts';

// V8 pretenures: it allocates objects directly in the old generation where those of the first calls
// survived. Each such object keeps the rest of its call out of the cheap minor collections
// (docs/decisions/0010).
setFlagsFromString('--no-allocation-site-pretenuring');

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stdin: () => process.stdin,
  stdoutStream: process.stdout,
  stderrIsTerminal: process.stderr.isTTY,
  version: String(version),
});
