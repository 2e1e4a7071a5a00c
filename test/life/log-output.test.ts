import { describe, expect, onTestFinished, test } from 'vitest';
import { Pool } from 'undici';
import {
  startGatewayProcess,
  type GatewayProcess,
  type GatewayProcessOptions,
} from '../support/gateway-process.ts';

async function start(options: GatewayProcessOptions = {}): Promise<GatewayProcess> {
  const gateway = await startGatewayProcess(options);
  onTestFinished(() => gateway.stop());
  return gateway;
}

/**
 * Sends calls that the gateway refuses without the API, so that each costs a log line and little
 * else. Resolves to the number that was refused.
 */
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

describe('a log reader that reads nothing', () => {
  test('does not stop the gateway, which counts and logs the lines that it dropped', async () => {
    const gateway = await start();
    const { log } = gateway;
    gateway.stopReading();
    // About 21 MB of lines; the gateway keeps 16 MiB of them.
    const calls = 1300;
    expect(await call(gateway.url, calls, `?q=${'x'.repeat(16_000)}`)).toBe(calls);

    gateway.resumeReading();
    const { lines, total, level } = await log.first('lines lost');
    expect(level).toBe('warn');
    expect(total).toBe(lines);
    expect(await call(gateway.url, 5)).toBe(5);
    gateway.kill('SIGTERM');
    expect((await gateway.ended).code).toBe(0);
    expect(Number(lines)).toBeGreaterThan(0);
    expect(log.count('call')).toBe(calls + 5 - Number(lines));
    expect(log.count('stopped')).toBe(1);
  });

  test('does not keep the process alive', async () => {
    const gateway = await start();
    gateway.stopReading();
    await call(gateway.url, 100, `?q=${'x'.repeat(12_000)}`);
    gateway.kill('SIGTERM');
    expect(await gateway.exited()).toEqual({ code: 0, signal: null });
  });
});

test('the gateway goes on without a log when the log reader is gone', async () => {
  const gateway = await start();
  gateway.closeOutput();
  expect(await call(gateway.url, 200)).toBe(200);
  expect(await call(gateway.url, 1)).toBe(1);
  gateway.kill('SIGTERM');
  expect(await gateway.exited()).toEqual({ code: 0, signal: null });
  expect(gateway.stderr).toBe('');
});

describe('every line is written', () => {
  test('when SIGTERM ends the process', async () => {
    const gateway = await start();
    await call(gateway.url, 300);
    gateway.kill('SIGTERM');
    expect(await gateway.ended).toEqual({ code: 0, signal: null });
    expect(gateway.log.count('call')).toBe(300);
    expect(gateway.log.lines.at(-1)).toMatchObject({ msg: 'stopped' });
  });

  test('when a crash ends the process, and the last line reports the crash', async () => {
    const crash = 'process.on("SIGUSR2", () => { throw new Error("a bug of ours"); });';
    const gateway = await start({
      nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(crash)}`],
    });
    await call(gateway.url, 300);
    gateway.kill('SIGUSR2');
    expect(await gateway.ended).toEqual({ code: 1, signal: null });
    expect(gateway.log.count('call')).toBe(300);
    const reported = { msg: 'crash', level: 'fatal', err: { message: 'a bug of ours' } };
    expect(gateway.log.lines.at(-1)).toMatchObject(reported);
  });

  test('when a second signal ends the process at once', async () => {
    const gateway = await start({ settings: { HEADGATE_DRAIN_DELAY: '10m' } });
    await call(gateway.url, 300);
    gateway.kill('SIGTERM');
    await gateway.log.first('draining');
    gateway.kill('SIGINT');
    expect(await gateway.ended).toEqual({ code: 130, signal: null });
    expect(gateway.log.count('call')).toBe(300);
    expect(gateway.log.lines.at(-1)).toMatchObject({ msg: 'stopped at once', signal: 'SIGINT' });
  });
});
