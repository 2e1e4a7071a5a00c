import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { startGateway } from '../support/gateway.ts';
import { health } from '../support/health.ts';
import { headgate, Spawned } from '../support/spawned.ts';

/** Tests of listeners on Unix sockets. */

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'headgate-sock-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function api(): Promise<Api> {
  const started = await startApi((_incoming, outgoing) => outgoing.end('from the API'));
  onTestFinished(() => started.close());
  return started;
}

async function ask(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  const outgoing = request({ socketPath, path, agent: false, headers: { host: 'headgate' } });
  outgoing.end();
  const [incoming] = await once(outgoing, 'response');
  return { status: incoming.statusCode, body: await text(incoming) };
}

test('callers and operators reach the gateway by Unix sockets, which are gone after the end', async () => {
  const { url } = await api();
  const path = folder();
  const [callers, admin] = [join(path, 'callers.sock'), join(path, 'admin.sock')];
  const settings = {
    HEADGATE_LISTEN: `unix:${callers}`,
    HEADGATE_ADMIN_LISTEN: `unix:${admin}`,
    // A socket is as local as loopback, so it needs no caller keys.
    HEADGATE_TOKEN: 'the-token-of-the-gateway',
  };
  const gateway = await startGateway({ upstream: url, settings });
  expect([gateway.url, gateway.adminUrl]).toEqual([`unix:${callers}`, `unix:${admin}`]);
  expect(await ask(callers, '/items')).toEqual({ status: 200, body: 'from the API' });
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ status: 200, caller: 'unix' });
  expect((await ask(admin, '/buckets')).status).toBe(200);
  const ended = await health({ HEADGATE_ADMIN_LISTEN: `unix:${admin}` });
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  await gateway.stop();
  expect([existsSync(callers), existsSync(admin)]).toEqual([false, false]);
});

test('the socket that a killed process left is replaced; one in use, and a file, are not', async () => {
  const { url } = await api();
  const path = join(folder(), 'gate.sock');
  const settings = { HEADGATE_LISTEN: `unix:${path}`, HEADGATE_ADMIN_LISTEN: 'off' };
  const killed = new Spawned(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
  ]);
  await killed.printed(/up/);
  await expect(startGateway({ upstream: url, settings })).rejects.toThrow(/EADDRINUSE/);
  killed.kill('SIGKILL');
  await killed.ended();
  expect(existsSync(path)).toBe(true);
  const gateway = await startGateway({ upstream: url, settings });
  expect((await ask(path, '/')).status).toBe(200);
  await gateway.stop();

  writeFileSync(path, 'a file');
  await expect(startGateway({ upstream: url, settings })).rejects.toThrow(/EADDRINUSE/);
  expect(existsSync(path)).toBe(true);
});

test('a socket that cannot be used ends the program with the name of its setting', async () => {
  const path = join(folder(), 'used.sock');
  const other = createServer().listen(path);
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const { code, stderr } = await headgate(['serve'], {
    env: { HEADGATE_LISTEN: `unix:${path}`, HEADGATE_ADMIN_LISTEN: 'off' },
  }).ended();
  expect([code, stderr]).toEqual([
    1,
    `headgate: HEADGATE_LISTEN: expected a free address, got ${path}, which another process uses (EADDRINUSE)\n`,
  ]);
});
