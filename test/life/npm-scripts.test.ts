import { readFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ROOT, Spawned } from '../support/spawned.ts';

/** Whether a process with this id exists. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The processes that a process has started, and those that they have. */
function descendantsOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  const children = text === '' ? [] : text.split(' ').map(Number);
  return children.concat(children.flatMap(descendantsOf));
}

const ENV = {
  HEADGATE_LISTEN: '127.0.0.1:0',
  HEADGATE_ADMIN_LISTEN: 'off',
  HEADGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  HEADGATE_DRAIN_DELAY: '0',
};

function startNpm(args: readonly string[]): Spawned {
  const npm = new Spawned('npm', args, { env: ENV });
  onTestFinished(() => npm.stop());
  return npm;
}

test('`npm start -s` prints nothing but log lines', async () => {
  const npm = startNpm(['start', '-s']);
  await npm.printed(/"msg":"listening"/);
  npm.kill('SIGTERM');
  const { stdout } = await npm.ended();
  for (const line of stdout.trimEnd().split('\n')) expect(line).toMatch(/^\{.*\}$/);
});

describe('a SIGTERM to npm stops what it runs, and npm waits for it', () => {
  test.each<[args: string, whenReady: RegExp, atTheEnd: RegExp]>([
    ['start', /"msg":"listening"/, /"msg":"stopped"/],
    ['run headgate -- serve', /"msg":"listening"/, /"msg":"stopped"/],
    ['run simulator -- 0', /Press Ctrl-C to stop/, /simulator listens/],
    ['run demo -- --seconds 600', /served [1-9]/, /^Stopped early\.$/m],
  ])('npm %s', async (args, whenReady, atTheEnd) => {
    const npm = startNpm(args.split(' '));
    await npm.printed(whenReady);
    const started = descendantsOf(npm.pid);
    expect(started).not.toEqual([]);
    onTestFinished(() => {
      for (const pid of started.filter(isAlive)) process.kill(pid, 'SIGKILL');
    });
    npm.kill('SIGTERM');
    expect(await npm.exited()).toEqual({ code: 0, signal: null });
    expect(started.filter(isAlive)).toEqual([]);
    expect((await npm.ended()).stdout).toMatch(atTheEnd);
  });

  test('so do the scripts that run for minutes: none leaves a shell between npm and Node', () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(
      readFileSync(`${ROOT}package.json`, 'utf8'),
    );
    const left = ['bench', 'fuzz', 'soak', 'mutants'].filter(
      (name) => scripts[name]?.startsWith('exec node ') !== true,
    );
    expect(left).toEqual([]);
  });
});
