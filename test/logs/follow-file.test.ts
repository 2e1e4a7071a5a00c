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

/** Follows the file until `lines` lines arrived. Runs the next step each time no bytes are left. */
async function follow(
  from: 'start' | 'last',
  lines: number,
  steps: readonly (() => Promise<unknown>)[] = [],
): Promise<string[]> {
  const clock = new FakeClock();
  const stop = new AbortController();
  const splitter = new LineSplitter();
  const received: string[] = [];
  const reading = (async () => {
    for await (const chunk of followFile({ path, clock, signal: stop.signal, from })) {
      received.push(...splitter.push(chunk).lines);
      if (received.length >= lines) stop.abort();
    }
  })();
  const nextSteps = [...steps];
  while (!stop.signal.aborted) {
    // A timer is set once all bytes of the file are read.
    if (clock.pending > 0) {
      await nextSteps.shift()?.();
      clock.advance(250);
    }
    await nextTurn();
  }
  await reading;
  expect(clock.pending).toBe(0);
  return received;
}

describe('a followed file', () => {
  test('yields existing and new lines, also lines that are written in pieces', async () => {
    await writeFile(path, 'a\nb\n');
    const received = await follow('start', 4, [
      () => appendFile(path, 'c\nhal'),
      () => appendFile(path, 'f\n'),
    ]);
    expect(received).toEqual(['a', 'b', 'c', 'half']);
  });

  test('yields only the last few existing lines when it is followed from there', async () => {
    const old = Array.from({ length: 5000 }, (_, n) => `line ${n}`);
    await writeFile(path, `${old.join('\n')}\n`);
    const received = await follow('last', 1000 + 1, [
      () => appendFile(path, Array.from({ length: 1000 }, (_, n) => `new ${n}\n`).join('')),
    ]);
    expect(received.length).toBeLessThan(2000);
    expect(old).toContain(received[0]);
    expect(received).toContain('new 0');
  });

  test('that is rotated is read to its end, then the new file from its start', async () => {
    await writeFile(path, 'a\n');
    const received = await follow('start', 4, [
      async () => {
        await appendFile(path, 'last of the old\ncut sho');
        await rename(path, `${path}.1`);
      },
      // For a moment there is no file with that name.
      () => Promise.resolve(),
      () => writeFile(path, 'first of the new\n'),
    ]);
    expect(received).toEqual(['a', 'last of the old', 'cut sho', 'first of the new']);
  });

  test('that became shorter is read from its start again', async () => {
    await writeFile(path, 'a\nb\nc\n');
    const received = await follow('start', 4, [
      async () => {
        await truncate(path);
        await appendFile(path, 'd\n');
      },
    ]);
    expect(received).toEqual(['a', 'b', 'c', 'd']);
  });

  test('that does not exist at the beginning is an error', async () => {
    const { signal } = new AbortController();
    const chunks = followFile({ path, clock: new FakeClock(), signal, from: 'start' });
    await expect(chunks.next()).rejects.toThrow('ENOENT');
  });
});
