import { writeFileSync } from 'node:fs';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ROOT, Spawned } from '../support/spawned.ts';

/**
 * Makes a process behave as process 1 of a container, which a signal without a listener does not end,
 * and delivers SIGTERM before the program has loaded.
 */
const AS_PROCESS_1 = `
import { registerHooks } from 'node:module';
process.kill = () => true;
registerHooks({
  load(url, context, next) {
    if (url.endsWith('/cli/run.ts')) process.emit('SIGTERM', 'SIGTERM');
    return next(url, context);
  },
});
`;

test('SIGTERM ends process 1 also while it loads', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'headgate-first-signal-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const preload = join(directory, 'process-1.mjs');
  writeFileSync(preload, AS_PROCESS_1);
  const program = new Spawned(process.execPath, ['--import', preload, `${ROOT}src/main.ts`], {
    env: {},
  });
  onTestFinished(() => program.stop());
  expect(await program.ended()).toMatchObject({ code: 143 });
});
