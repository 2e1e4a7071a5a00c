import { appendFile, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { followFile } from '../../src/logs/follow-file.ts';
import { LineSplitter } from '../../src/logs/line-splitter.ts';
import { FakeClock } from '../support/fake-clock.ts';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headgate-follow-'));
  path = join(folder, 'calls.log');
});
afterEach(() => rm(folder, { recursive: true }));

/** Follows the file until `lines` lines came; between, `step` runs each time nothing is left. */
async function follow(
  from: 'start' | 'last',
  lines: number,
  steps: readonly (() => Promise<unknown>)[] = [],
): Promise<string[]> {
  const clock = new FakeClock();
  const stop = new AbortController();
  const splitter = new LineSplitter();
  const came: string[] = [];
  const reading = (async () => {
    for await (const chunk of followFile({ path, clock, signal: stop.signal, from })) {
      came.push(...splitter.push(chunk).lines);
      if (came.length >= lines) stop.abort();
    }
  })();
  const ahead = [...steps];
  while (!stop.signal.aborted) {
    // A timer is set when the file gave all it had.
    if (clock.pending > 0) {
      await ahead.shift()?.();
      clock.advance(250);
    }
    await nextTurn();
  }
  await reading;
  expect(clock.pending).toBe(0);
  return came;
}

describe('following a file', () => {
  test('gives what is there and what is added, lines written in pieces included', async () => {
    await writeFile(path, 'a\nb\n');
    const came = await follow('start', 4, [
      () => appendFile(path, 'c\nhal'),
      () => appendFile(path, 'f\n'),
    ]);
    expect(came).toEqual(['a', 'b', 'c', 'half']);
  });

  test('begins with the last few lines when only new ones are asked for', async () => {
    const old = Array.from({ length: 5000 }, (_, n) => `line ${n}`);
    await writeFile(path, `${old.join('\n')}\n`);
    const came = await follow('last', 1000 + 1, [
      () => appendFile(path, Array.from({ length: 1000 }, (_, n) => `new ${n}\n`).join('')),
    ]);
    expect(came.length).toBeLessThan(2000);
    expect(old).toContain(came[0]);
    expect(came).toContain('new 0');
  });

  test('goes on with the new file when the old one is moved away, without losing its end', async () => {
    await writeFile(path, 'a\n');
    const came = await follow('start', 4, [
      async () => {
        await appendFile(path, 'last of the old\ncut sho');
        await rename(path, `${path}.1`);
      },
      // For a moment there is no file of that name.
      () => Promise.resolve(),
      () => writeFile(path, 'first of the new\n'),
    ]);
    expect(came).toEqual(['a', 'last of the old', 'cut sho', 'first of the new']);
  });

  test('begins again when the file became shorter', async () => {
    await writeFile(path, 'a\nb\nc\n');
    const came = await follow('start', 4, [
      async () => {
        await truncate(path);
        await appendFile(path, 'd\n');
      },
    ]);
    expect(came).toEqual(['a', 'b', 'c', 'd']);
  });

  test('fails when there is no file to begin with', async () => {
    const { signal } = new AbortController();
    const chunks = followFile({ path, clock: new FakeClock(), signal, from: 'start' });
    await expect(chunks.next()).rejects.toThrow('ENOENT');
  });
});
