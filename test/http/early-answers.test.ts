import { describe, expect, onTestFinished, test } from 'vitest';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ask } from '../support/ask.ts';
import { openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpGateway } from './setup.ts';

/**
 * Starts an API that answers a request from its head, and reads no more of it. `close` ends its
 * connection, whose unread bytes make the system reset it.
 */
async function startEarlyApi(answer: string, close: 'reset' | 'end') {
  let requests = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      requests++;
      socket.pause();
      socket.write(answer);
      if (close === 'reset') {
        socket.end();
        setImmediate(() => socket.destroy());
      } else {
        socket.end();
        socket.resume();
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    get requests() {
      return requests;
    },
  };
}

const ANSWER = 'HTTP/1.1 413 Too Much\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge';
const SIZES = [300_000, 5_000_000, 30_000_000];

describe('an answer that the API sends before it has the whole upload reaches the caller', () => {
  test.each(SIZES)('and resets its connection: %i bytes', async (size) => {
    const api = await startEarlyApi(ANSWER, 'reset');
    const gateway = await setUpGateway(api.url);
    for (let i = 1; i <= 5; i++) {
      const body = Buffer.alloc(size, 'a');
      const { status, text } = await ask(`${gateway.url}/a`, { method: 'POST', body });
      expect({ status, text }).toEqual({ status: 413, text: 'large' });
      expect(api.requests).toBe(i);
    }
  });

  test('and its caller goes on sending', async () => {
    const api = await startEarlyApi(ANSWER, 'end');
    const gateway = await setUpGateway(api.url);
    const raw = await openRaw(gateway.url);
    raw.socket.allowHalfOpen = true;
    const head =
      'POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n';
    raw.write(head + 'a'.repeat(2_000_000));
    await raw.until((text) => text.endsWith('large'));
    // A caller that reads its answer only when it has sent everything must not be reset before.
    raw.write('a'.repeat(17_000_000));
    await until('the gateway has read it', () => raw.socket.writableLength === 0);
    expect(raw.ended).toBeUndefined();
    raw.write('a'.repeat(1_000_000));
    raw.socket.end();
    expect(await raw.end()).toBe('end');
  });
});
