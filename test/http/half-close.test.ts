import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { ok, setUpApi, setUpHeldApi, untilWaiting } from './setup.ts';

/** Connects, writes, ends its own side at once, and reads to the end. */
function halfClose(url: string, bytes: string): RawSocket {
  const { port } = new URL(url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  socket.end(bytes, 'latin1');
  return new RawSocket(socket);
}

describe('a caller that ends its side behind its request receives the answer', () => {
  test.each([
    ['HTTP/1.1', 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n', 1],
    ['HTTP/1.0', 'GET /a HTTP/1.0\r\n\r\n', 1],
    ['a body', 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc', 1],
    ['two requests', 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2), 2],
  ])('%s', async (_name, bytes, count) => {
    const { gateway } = await setUpApi((incoming, outgoing) => {
      incoming.resume();
      setTimeout(() => outgoing.end('ok'), 50);
    });
    const raw = halfClose(gateway.url, bytes);
    expect(await raw.end()).toBe('end');
    expect(raw.received.split('HTTP/1.1 200').length - 1).toBe(count);
    const lines = await gateway.log.wait('call', count);
    expect(lines.map((line) => line['outcome'])).toEqual(Array(count).fill('answered'));
  });

  test('also when it had to wait', async () => {
    const { gateway, release } = await setUpHeldApi();
    const raw = halfClose(gateway.url, 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
    await untilWaiting(gateway, 1);
    release();
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test('a caller that ends its side later has disconnected', async () => {
  const { gateway } = await setUpHeldApi();
  const { port } = new URL(gateway.url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await untilWaiting(gateway, 1);
  socket.end();
  await untilWaiting(gateway, 0);
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ path: '/a', outcome: 'aborted' });
  socket.destroy();
});

test('an idle connection whose caller ends its side is closed', async () => {
  const { gateway } = await setUpApi(ok);
  const { port } = new URL(gateway.url);
  const raw = new RawSocket(
    connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }),
  );
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await raw.until((text) => text.endsWith('ok'));
  raw.socket.end();
  await until('it is closed', () => raw.ended === 'end');
  expect(raw.ended).toBe('end');
});
