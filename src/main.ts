#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setFlagsFromString } from 'node:v8';

// The kernel discards a signal to process 1 of a container unless there is a listener, so there is one
// before anything else is loaded. Any other process ends by the signal itself.
function end(signal: NodeJS.Signals): void {
  releaseSignals();
  process.kill(process.pid, signal);
  process.exit(128 + constants.signals[signal]);
}
function releaseSignals(): void {
  process.off('SIGTERM', end).off('SIGINT', end);
}
process.on('SIGTERM', end).on('SIGINT', end);

// Node opens its debugger at SIGUSR1, to everyone on this host, unless there is a listener.
process.on('SIGUSR1', () => undefined);

// V8 pretenures: it allocates objects directly in the old generation where those of the first calls
// survived. Each such object keeps the rest of its call out of the cheap minor collections
// (docs/decisions/0010).
setFlagsFromString('--no-allocation-site-pretenuring');

const { version, engines } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

// An older Node fails somewhere in a library, and that error does not name the reason.
const leastMajor = Number.parseInt(String(engines.node).replace('>=', ''), 10);
if (Number.parseInt(process.versions.node, 10) < leastMajor) {
  process.stderr.write(
    `headgate: expected Node.js ${leastMajor} or later, got ${process.versions.node}; install a newer one, or use the image\n`,
  );
  process.exit(1);
}

const { run } = await import('./cli/run.ts');

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stdin: () => process.stdin,
  stdoutStream: process.stdout,
  stderrIsTerminal: process.stderr.isTTY,
  version: String(version),
  releaseSignals,
});
