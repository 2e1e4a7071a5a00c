import { afterEach, describe, expect, test } from 'vitest';
import { Pool } from 'undici';
import { startChild, type Child, type ChildOptions } from './child.ts';

let child: Child | undefined;

afterEach(async () => {
  await child?.stop();
  child = undefined;
});

async function start(options: ChildOptions = {}): Promise<Child> {
  child = await startChild(options);
  return child;
}

/** Calls that are refused without the API, and so cost one log line and little else. */
async function call(url: string, count: number, query = ''): Promise<number> {
  const pool = new Pool(url, { connections: 16 });
  let refused = 0;
  const one = async (): Promise<void> => {
    const headers = { 'headgate-priority': 'nonsense' };
    const answer = await pool.request({ path: `/domains${query}`, method: 'GET', headers });
    await answer.body.dump();
    if (answer.statusCode === 400) refused++;
  };
  for (let sent = 0; sent < count; sent += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - sent) }, one));
  }
  await pool.destroy();
  return refused;
}

describe('a reader that takes nothing', () => {
  test('does not stop the gateway, and what had to go is counted and told', async () => {
    const gateway = await start();
    gateway.stopReading();
    // About 21 MB of lines, where 16 MiB may wait.
    const calls = 1300;
    expect(await call(gateway.url, calls, `?q=${'x'.repeat(16_000)}`)).toBe(calls);

    gateway.readOn();
    const { lines, total, level } = await gateway.waitFor('lines lost');
    expect(level).toBe('warn');
    expect(total).toBe(lines);
    expect(await call(gateway.url, 5)).toBe(5);
    gateway.kill('SIGTERM');
    expect((await gateway.ended()).code).toBe(0);
    expect(Number(lines)).toBeGreaterThan(0);
    expect(gateway.said('call')).toHaveLength(calls + 5 - Number(lines));
    expect(gateway.said('stopped')).toHaveLength(1);
  });

  test('does not keep the process from ending', async () => {
    const gateway = await start();
    gateway.stopReading();
    await call(gateway.url, 100, `?q=${'x'.repeat(12_000)}`);
    gateway.kill('SIGTERM');
    expect(await gateway.exited()).toEqual({ code: 0, signal: null });
  });
});

test('a reader that goes away ends the log and not the gateway', async () => {
  const gateway = await start();
  gateway.closeOutput();
  expect(await call(gateway.url, 200)).toBe(200);
  expect(await call(gateway.url, 1)).toBe(1);
  gateway.kill('SIGTERM');
  expect(await gateway.exited()).toEqual({ code: 0, signal: null });
  expect(gateway.stderr).toBe('');
});

test('every line is out when SIGTERM has ended the process', async () => {
  const gateway = await start();
  await call(gateway.url, 300);
  gateway.kill('SIGTERM');
  expect(await gateway.ended()).toEqual({ code: 0, signal: null });
  expect(gateway.said('call')).toHaveLength(300);
  expect(gateway.lines.at(-1)).toMatchObject({ msg: 'stopped' });
});

test('every line is out when a crash has ended the process, and the crash is told', async () => {
  const crash = 'process.on("SIGUSR2", () => { throw new Error("a bug of ours"); });';
  const gateway = await start({
    nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(crash)}`],
  });
  await call(gateway.url, 300);
  gateway.kill('SIGUSR2');
  expect(await gateway.ended()).toEqual({ code: 1, signal: null });
  expect(gateway.said('call')).toHaveLength(300);
  const told = { msg: 'crash', level: 'fatal', err: { message: 'a bug of ours' } };
  expect(gateway.lines.at(-1)).toMatchObject(told);
});

test('every line is out when a second signal has ended the process at once', async () => {
  const gateway = await start({ env: { HEADGATE_DRAIN_DELAY: '10m' } });
  await call(gateway.url, 300);
  gateway.kill('SIGTERM');
  await gateway.waitFor('draining');
  gateway.kill('SIGINT');
  expect(await gateway.ended()).toEqual({ code: 130, signal: null });
  expect(gateway.said('call')).toHaveLength(300);
  expect(gateway.lines.at(-1)).toMatchObject({ msg: 'stopped at once', signal: 'SIGINT' });
});
