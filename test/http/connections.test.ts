import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { openRaw, RawSocket, startRawServer } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpGateway, ok, setUpApi } from './setup.ts';

const POST = 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi';

describe('a connection to the API', () => {
  test('serves further requests behind a HEAD', async () => {
    const { api, gateway } = await setUpApi((incoming, outgoing) => {
      outgoing.setHeader('content-length', '5');
      outgoing.end(incoming.method === 'HEAD' ? undefined : 'hello');
    });
    for (const method of ['HEAD', 'HEAD', 'GET']) {
      const { status, headers } = await ask(`${gateway.url}/a`, { method });
      expect([status, headers['content-length']]).toEqual([200, '5']);
    }
    expect(api.connections).toBe(1);
  });

  test('is closed if a body follows a HEAD, which is not taken for the next answer', async () => {
    const hello = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
    const api = await startRawServer((raw) => raw.socket.on('data', () => raw.write(hello)));
    onTestFinished(() => api.close());
    const gateway = await setUpGateway(api.url, { HEADGATE_RETRIES: '0' });
    expect((await ask(`${gateway.url}/a`, { method: 'HEAD' })).status).toBe(200);
    expect((await ask(`${gateway.url}/a`, { method: 'POST' })).text).toBe('hello');
    expect(api.connections.length).toBe(2);
  });
});

describe('an idle connection of a caller', () => {
  test('receives the idle timeout, and is closed with a FIN after it', async () => {
    const { gateway } = await setUpApi(ok, { HEADGATE_KEEPALIVE_TIMEOUT: '1s' });
    const raw = await openRaw(gateway.url);
    raw.write(POST);
    await raw.until((text) => text.endsWith('ok'));
    expect(raw.received).toMatch(/^Keep-Alive: timeout=1$/m);
    expect(await raw.end()).toBe('end');
  });

  test('serves a request that arrived in time, even if the gateway reads it late', async () => {
    const idleMs = 100;
    const { gateway } = await setUpApi(ok, { HEADGATE_KEEPALIVE_TIMEOUT: `${idleMs}ms` });
    const twice = async (): Promise<RawSocket> => {
      const startedAt = performance.now();
      const raw = await openRaw(gateway.url);
      raw.write(POST);
      await raw.until((text) => text.endsWith('ok'));
      raw.write(POST);
      if (performance.now() - startedAt < idleMs) return raw;
      // The machine was too slow to send the second request in time.
      raw.socket.destroy();
      return twice();
    };
    const raw = await twice();
    // The request is in the socket while the event loop is blocked beyond the idle timeout.
    const blockedUntil = performance.now() + 1500;
    while (performance.now() < blockedUntil);
    const answered = (text: string): number => text.split('HTTP/1.1 200').length - 1;
    await raw.until((text) => answered(text) === 2);
    expect(raw.ended).toBeUndefined();
    raw.socket.destroy();
  });

  test('is probed after 15 s, which detects a caller that vanished', async () => {
    const { gateway } = await setUpApi(ok);
    const port = Number(new URL(gateway.url).port);
    const client = connect(port, '127.0.0.1');
    onTestFinished(() => void client.destroy());
    const raw = new RawSocket(client);
    raw.write(POST);
    await raw.until((text) => text.endsWith('ok'));
    const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    // The kernel's table of sockets: timer 2 is keep-alive, its time in hundredths of a second.
    const timerNow = (): string[] => {
      const row = readFileSync('/proc/net/tcp', 'utf8')
        .split('\n')
        .map((line) => line.trim().split(/\s+/))
        .find(([, address, , state]) => address === local && state === '01');
      return (row?.[5] ?? '').split(':');
    };
    // Until the answer is acknowledged, another timer runs.
    await until('the keep-alive timer runs', () => timerNow()[0] === '02');
    expect(Number.parseInt(timerNow()[1] ?? '', 16)).toBeLessThanOrEqual(1500);
  });
});

describe('a socket to the API', () => {
  test('that the API closed while it was idle costs no request, of any method', async () => {
    const answered: number[] = [];
    const api = await startRawServer((raw) => {
      void raw
        .until((text) => text.endsWith('hi'))
        .then(() => {
          answered.push(1);
          raw.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
          // Without a notice, and just as the next request is sent.
          raw.socket.end();
        });
    });
    onTestFinished(() => api.close());
    const gateway = await setUpGateway(api.url, { HEADGATE_RETRIES: '0' });
    for (let i = 0; i < 50; i++) {
      const answer = await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' });
      expect(answer).toMatchObject({ status: 200, text: 'ok' });
    }
    expect(answered).toHaveLength(50);
    expect(api.connections).toHaveLength(50);
  });

  test('that was reset while it was idle costs no request either', async () => {
    let reset = (): void => undefined;
    const api = await startRawServer((raw) => {
      void raw
        .until((text) => text.endsWith('hi'))
        .then(() => raw.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
      reset = () => raw.socket.resetAndDestroy();
    });
    onTestFinished(() => api.close());
    const gateway = await setUpGateway(api.url, { HEADGATE_RETRIES: '0' });
    for (let i = 0; i < 10; i++) {
      const answer = await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' });
      expect(answer.status).toBe(200);
      reset();
    }
  });

  test('is reused while it is open', async () => {
    const { api, gateway } = await setUpApi(ok);
    for (let i = 0; i < 20; i++) await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' });
    expect(api.connections).toBe(1);
  });
});

describe('Via', () => {
  test('names this gateway and other Headgates to the API, and no other proxies', async () => {
    const { api, gateway } = await setUpApi(ok);
    await ask(`${gateway.url}/a`, {
      headers: { via: '1.0 squid.internal:3128 (secret), 1.1 headgate-0123abcd' },
    });
    expect(api.seen[0]?.headers.via).toMatch(/^1\.1 headgate-0123abcd, 1\.1 headgate-[0-9a-f]{8}$/);
  });

  test('with the id of this gateway means a loop', async () => {
    const { api, gateway } = await setUpApi(ok);
    await ask(`${gateway.url}/a`);
    const { via = '' } = api.seen[0]?.headers ?? {};
    const looped = await ask(`${gateway.url}/a`, { headers: { via: `1.1 edge, ${via}` } });
    expect(looped.status).toBe(508);
    expect(looped.headers['headgate-error']).toBe('loop');
    expect(api.seen).toHaveLength(1);
  });

  test('can be switched off', async () => {
    const { api, gateway } = await setUpApi(ok, { HEADGATE_VIA: 'off' });
    await ask(`${gateway.url}/a`, { headers: { via: '1.1 headgate-0123abcd' } });
    expect(api.seen[0]?.headers.via).toBeUndefined();
  });
});
