import { pbkdf2 } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { watchPath } from '../../src/upstream/watched-file.ts';
import { until } from '../support/setup.ts';

function makeFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-watched-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'file');
  writeFileSync(path, 'first');
  return path;
}

/** Keeps every thread busy that reads files, as names do that resolve slowly. */
function busyThreads(): Promise<unknown> {
  const work = promisify(pbkdf2);
  return Promise.all([1, 2, 3, 4].map(() => work('a', 'b', 200_000, 64, 'sha512')));
}

test('a change is noticed that comes before a thread has looked at the file', async () => {
  const path = makeFile();
  const busy = busyThreads();
  let changes = 0;
  const stop = watchPath(path, () => changes++);
  onTestFinished(stop);
  writeFileSync(path, 'second, and longer');
  await until('it is noticed', () => changes > 0);
  await busy;
  expect(changes).toBeGreaterThan(0);
});

test('a file that does not change is not reported, and no file is after the end of its watch', async () => {
  const [still, left, changed] = [makeFile(), makeFile(), makeFile()];
  const reported: string[] = [];
  const stops = [still, left, changed].map((path) => watchPath(path, () => reported.push(path)));
  onTestFinished(() => {
    for (const stop of stops) stop();
  });
  stops[1]?.();
  writeFileSync(left, 'second, and longer');
  await until('the change of another file is reported', () => {
    writeFileSync(changed, `at ${performance.now()}`);
    return reported.includes(changed);
  });
  expect(new Set(reported)).toEqual(new Set([changed]));
});
