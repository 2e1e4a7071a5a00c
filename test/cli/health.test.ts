import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { health as runHealth } from '../support/health.ts';
import { headgate, type Ended } from '../support/spawned.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** An admin listener that answers `/health/ready` with this status, and other paths with 200. */
async function admin(ready: number | 'never', host = '127.0.0.1'): Promise<number> {
  const server = createServer((incoming, outgoing) => {
    if (ready === 'never') return;
    outgoing.statusCode = incoming.url === '/health/ready' ? ready : 200;
    outgoing.end(`{"path":"${incoming.url}"}`);
  });
  servers.push(server);
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function health(listen: string, ...args: string[]): Promise<Ended> {
  return runHealth({ HEADGATE_ADMIN_LISTEN: listen }, ...args);
}

describe('headgate health', () => {
  test('exits with 0 and prints one line when the gateway is ready', async () => {
    const port = await admin(200);
    expect(await health(`127.0.0.1:${port}`)).toMatchObject({
      code: 0,
      stdout: '200 {"path":"/health/ready"}\n',
      stderr: '',
    });
  });

  test('escapes what a terminal would obey', async () => {
    const server = createServer((_incoming, outgoing) => void outgoing.end('\u001B[2J\u202Eok'));
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const { stdout } = await health(`127.0.0.1:${address.port}`);
    expect(stdout).toBe('200 \\u{1b}[2J\\u{202e}ok\n');
  });

  test('exits with 1 while the gateway drains, and with 0 for --live', async () => {
    const port = await admin(503);
    expect(await health(`127.0.0.1:${port}`)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: '503 {"path":"/health/ready"}\n',
    });
    expect(await health(`127.0.0.1:${port}`, '--live')).toMatchObject({
      code: 0,
      stdout: '200 {"path":"/health/live"}\n',
    });
  });

  test('finds a listener on all addresses', async () => {
    const port = await admin(200, '::');
    expect((await health(`[::]:${port}`)).code).toBe(0);
    expect((await health(`0.0.0.0:${port}`)).code).toBe(0);
  });

  test('exits with 1 without a listener, or without an answer in time', async () => {
    const refused = await health('127.0.0.1:9');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('no answer from 127.0.0.1:9/health/ready: connect');
    const env = { HEADGATE_ADMIN_LISTEN: `127.0.0.1:${await admin('never')}` };
    const silent = await headgate(['health'], { env }).ended();
    expect(silent.code).toBe(1);
    expect(silent.stderr).toContain('timed out after 2000 ms');
  });

  test('exits with 1 if the settings have no admin address, and with 2 if they are wrong', async () => {
    expect(await health('off')).toMatchObject({
      code: 1,
      stderr: 'headgate: HEADGATE_ADMIN_LISTEN: expected an address with a port, got off\n',
    });
    expect((await health('127.0.0.1:0')).code).toBe(1);
    expect((await health('nowhere')).code).toBe(2);
  });
});
