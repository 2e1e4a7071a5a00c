import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { headgate, type Ended } from '../support/spawned.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** An admin listener that answers `/health/ready` with this status, and lives. */
async function admin(ready: number | 'never', host = '127.0.0.1'): Promise<number> {
  const server = createServer((incoming, outgoing) => {
    if (ready === 'never') return;
    outgoing.statusCode = incoming.url === '/health/ready' ? ready : 200;
    outgoing.end(`{"asked":"${incoming.url}"}`);
  });
  servers.push(server);
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function health(listen: string, ...args: string[]): Promise<Ended> {
  return headgate(['health', ...args], { env: { HEADGATE_ADMIN_LISTEN: listen } }).ended();
}

describe('headgate health', () => {
  test('is 0 and one line when the gateway is ready', async () => {
    const port = await admin(200);
    expect(await health(`127.0.0.1:${port}`)).toMatchObject({
      code: 0,
      stdout: '200 {"asked":"/health/ready"}\n',
      stderr: '',
    });
  });

  test('is 1 while it drains, and 0 when only asked whether it lives', async () => {
    const port = await admin(503);
    expect(await health(`127.0.0.1:${port}`)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: '503 {"asked":"/health/ready"}\n',
    });
    expect(await health(`127.0.0.1:${port}`, '--live')).toMatchObject({
      code: 0,
      stdout: '200 {"asked":"/health/live"}\n',
    });
  });

  test('finds a listener that listens on every address', async () => {
    const port = await admin(200, '::');
    expect((await health(`[::]:${port}`)).code).toBe(0);
    expect((await health(`0.0.0.0:${port}`)).code).toBe(0);
  });

  test('is 1 when nobody listens, or when nobody answers in time', async () => {
    const port = await admin(200);
    servers.pop()?.close();
    const refused = await health(`127.0.0.1:${port}`);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`no answer from 127.0.0.1:${port}/health/ready: connect`);
    const silent = await health(`127.0.0.1:${await admin('never')}`);
    expect(silent.code).toBe(1);
    expect(silent.stderr).toContain('nothing within 2000 ms');
  });

  test('is 1 when the settings name no address to ask, and 2 when they are wrong', async () => {
    expect(await health('off')).toMatchObject({
      code: 1,
      stderr: 'headgate: HEADGATE_ADMIN_LISTEN: expected an address to ask, got off\n',
    });
    expect((await health('127.0.0.1:0')).code).toBe(1);
    expect((await health('nowhere')).code).toBe(2);
  });
});
