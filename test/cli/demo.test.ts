import { createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { ROOT, Spawned } from '../support/spawned.ts';
import { needs, pathOf } from '../support/tools.ts';

const running: Spawned[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((spawned) => spawned.stop()));
});

function demo(...args: string[]): Spawned {
  const spawned = new Spawned(process.execPath, [`${ROOT}demo/demo.ts`, ...args], {});
  running.push(spawned);
  return spawned;
}

describe('the demo', () => {
  test('serves every call without a 429, prints plain lines without a terminal, and ends', async () => {
    const { code, stdout, stderr } = await demo('--seconds', '3', '--callers', '3').ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toContain('\u001B');
    expect(stdout).toMatch(
      /^Headgate: the API allows 40 calls per 0\.5 s; 3 callers send 3 times that$/m,
    );
    expect(stdout).toMatch(/^ *\d+\.\d s {2}served \d+, waiting \d+; budget: \d+ of 40 left/m);
    expect(stdout).toMatch(/^Done\.$/m);
    expect(stdout).toMatch(/^ {2}sent 240, served 240, in /m);
    expect(stdout).toMatch(/^ {2}nightly-sync {2}served {2}120 of {2}120, mean wait /m);
    expect(stdout).toMatch(/^ {2}429s seen by callers: 0; errors: 0; /m);
    expect(stdout).toMatch(/^ {2}log lines: 240, one per call/m);
  });

  test('draws on a terminal, also on one without a size', { tags: needs('script') }, async () => {
    const command = `${process.execPath} demo/demo.ts --seconds 3 --callers 3`;
    const spawned = new Spawned(pathOf('script'), ['-qec', command, '/dev/null'], {});
    running.push(spawned);
    const { code, stdout } = await spawned.ended();
    expect(code).toBe(0);
    expect(stdout).toMatch(/the API allows 40 calls per 0\.5 s; 3 callers send 3 times that/);
    expect(stdout).toMatch(/nightly-sync +\d+ +\d+ +[\d.–]+/);
  });

  test('ends cleanly on Ctrl-C, with a summary', async () => {
    const show = demo('--seconds', '600');
    await show.printed(/served [1-9]/);
    show.kill('SIGINT');
    const { code, stdout, stderr } = await show.ended();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^Stopped early\.$/m);
    expect(stdout).toMatch(/^ {2}429s seen by callers: 0; errors: 0; /m);
  });

  test('rejects invalid options with exit code 2 and its usage', async () => {
    expect(await demo('--seconds', 'long').ended()).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^demo: --seconds: expected a whole number from 3 to 600, got long\n\nUsage: npm run demo/,
      ),
    });
  });
});

test('the simulator says in one line that its port is taken', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve);
  });
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const spawned = new Spawned(process.execPath, [`${ROOT}demo/simulator.ts`, String(port)], {});
  running.push(spawned);
  expect(await spawned.ended()).toMatchObject({
    code: 1,
    stderr: `simulator: expected a free port, got ${port}, which another process uses (EADDRINUSE)\n`,
  });
  taken.close();
});
