import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { FakeClock } from '../support/fake-clock.ts';
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

/** Connects and writes, and leaves its own side open. */
function openHalf(url: string, bytes: string): RawSocket {
  const { port } = new URL(url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  const raw = new RawSocket(socket);
  raw.write(bytes);
  return raw;
}

describe('a caller that ends its side later', () => {
  const REQUEST = 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n';
  const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

  test('receives the answer, behind an interim one that shows whether it is there', async () => {
    const { gateway, release } = await setUpHeldApi();
    const raw = openHalf(gateway.url, REQUEST);
    await untilWaiting(gateway, 1);
    raw.socket.end();
    await raw.until((text) => text === CONTINUE);
    await untilWaiting(gateway, 1);
    release();
    expect(await raw.end()).toBe('end');
    expect(raw.received).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok$/,
    );
    const lines = await gateway.log.wait('call', 2);
    expect(lines.map((line) => line['outcome'])).toEqual(['answered', 'answered']);
  });

  test('receives the rest of an answer that has begun', async () => {
    let answer: ServerResponse | undefined;
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      answer = outgoing;
      outgoing.write('begin ');
    });
    const raw = openHalf(gateway.url, REQUEST);
    await raw.until((text) => text.includes('begin '));
    raw.socket.end();
    await until('the gateway has read the end', () => raw.socket.writableFinished);
    answer?.end('end');
    expect(await raw.end()).toBe('end');
    expect(raw.received).toContain('3\r\nend\r\n0\r\n\r\n');
    expect(raw.received).not.toContain(CONTINUE);
  });

  test('is dropped in the middle of an answer that shows nothing for five seconds', async () => {
    const clock = new FakeClock();
    const { gateway } = await setUpApi(
      (_incoming, outgoing) => void outgoing.write('begin '),
      {},
      { clock },
    );
    const raw = openHalf(gateway.url, REQUEST);
    await raw.until((text) => text.includes('begin '));
    raw.socket.end();
    await until('it is dropped', () => {
      clock.advance(1000);
      return raw.ended !== undefined;
    });
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ outcome: 'aborted' });
  });

  test('and has disconnected leaves the queue', async () => {
    const { gateway } = await setUpHeldApi();
    const raw = openHalf(gateway.url, REQUEST);
    await untilWaiting(gateway, 1);
    raw.socket.destroy();
    await untilWaiting(gateway, 0);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ path: '/a', outcome: 'aborted' });
  });

  test('has disconnected with HTTP/1.0, which has no interim answers', async () => {
    const { gateway } = await setUpHeldApi();
    const raw = openHalf(gateway.url, 'GET /a HTTP/1.0\r\n\r\n');
    await untilWaiting(gateway, 1);
    raw.socket.end();
    await untilWaiting(gateway, 0);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ path: '/a', outcome: 'aborted' });
    expect(raw.received).toBe('');
  });
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
