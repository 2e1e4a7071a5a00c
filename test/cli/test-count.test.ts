import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { ROOT, Spawned, type Ended } from '../support/spawned.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

type Status = 'passed' | 'failed' | 'skipped';

/** A report of test files, as the statuses of their tests; a file without tests did not load. */
function report(...files: readonly Status[][]): string {
  const all = files.flat();
  const count = (wanted: Status): number => all.filter((status) => status === wanted).length;
  const testResults = files.map((statuses) => ({
    status: statuses.length === 0 || statuses.includes('failed') ? 'failed' : 'passed',
    assertionResults: statuses.map((status) => ({ status })),
  }));
  return JSON.stringify({
    success: testResults.every(({ status }) => status === 'passed'),
    numPassedTests: count('passed'),
    numFailedTests: count('failed'),
    numPendingTests: count('skipped'),
    testResults,
  });
}

function count(content: string): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-'));
  folders.push(folder);
  const path = join(folder, 'report.json');
  writeFileSync(path, content);
  return new Spawned(process.execPath, [`${ROOT}scripts/test-count.ts`, path], {}).ended();
}

describe('the last line of a check', () => {
  test('counts the tests, and exits with 0 if all passed', async () => {
    const ended = await count(report(['passed', 'passed'], ['passed']));
    expect(ended).toMatchObject({ code: 0, stdout: '3 passed, 0 failed\n', stderr: '' });
  });

  test('names the number of tests that were not run, if there are any', async () => {
    const ended = await count(report(['passed', 'skipped'], ['skipped']));
    expect(ended).toMatchObject({ code: 0, stdout: '1 passed, 0 failed, 2 skipped\n' });
  });

  test('exits with 1 for a failed test, and for a file that did not load', async () => {
    expect(await count(report(['passed', 'failed'], []))).toMatchObject({
      code: 1,
      stdout: '1 passed, 2 failed\n',
    });
  });

  test('exits with 1 without tests, and without a report', async () => {
    expect(await count(report())).toMatchObject({ code: 1, stdout: '0 passed, 0 failed\n' });
    expect(await count('')).toMatchObject({
      code: 1,
      stdout: '0 passed, 0 failed\n',
      stderr: expect.stringMatching(/^no report of a test run: /),
    });
  });
});
