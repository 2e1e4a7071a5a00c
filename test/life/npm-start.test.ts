import { expect, onTestFinished, test } from 'vitest';
import { Spawned } from '../support/spawned.ts';

/** Whether a process with this id exists. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const ENV = {
  HEADGATE_LISTEN: '127.0.0.1:0',
  HEADGATE_ADMIN_LISTEN: 'off',
  HEADGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  HEADGATE_DRAIN_DELAY: '0',
};

test('`npm start -s` prints nothing but log lines', async () => {
  const npm = new Spawned('npm', ['start', '-s'], { env: ENV });
  onTestFinished(() => npm.stop());
  await npm.printed(/"msg":"listening"/);
  npm.kill('SIGTERM');
  const { stdout } = await npm.ended();
  for (const line of stdout.trimEnd().split('\n')) expect(line).toMatch(/^\{.*\}$/);
});

test('a SIGTERM to the process of `npm start` stops the gateway, and npm waits for it', async () => {
  const npm = new Spawned('npm', ['start'], { env: ENV });
  onTestFinished(() => npm.stop());
  const [, id = ''] = await npm.printed(/"replica":"[^"]*-(\d+)".*"msg":"listening"/);
  const gateway = Number(id);
  onTestFinished(() => {
    if (isAlive(gateway)) process.kill(gateway, 'SIGKILL');
  });
  npm.kill('SIGTERM');
  expect(await npm.exited()).toEqual({ code: 0, signal: null });
  expect(isAlive(gateway)).toBe(false);
  expect((await npm.ended()).stdout).toContain('"msg":"stopped"');
});
