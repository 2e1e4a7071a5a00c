import { once } from 'node:events';
import { request } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { CallLimits } from '../../src/gateway/identify/call-limits.ts';
import { makeListener, type Listener } from '../../src/gateway/connections/listener.ts';
import { Peers } from '../../src/gateway/connections/peers.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import type { Call } from '../../src/gateway/call.ts';
import type { CallRecorder } from '../../src/telemetry/call-line.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { exchangeRaw, openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

let open: Listener | undefined;

afterEach(() => {
  open?.server.closeAllConnections();
  open?.server.close();
});

/** Starts a listener whose calls are answered by `answer`; resolves to its port. */
async function listening(
  answer: (call: Call) => void,
  clock = new FakeClock(),
  recorder: CallRecorder = () => undefined,
): Promise<{ listener: Listener; port: number }> {
  const listener = makeListener({
    gateway: (call) => {
      answer(call);
      return Promise.resolve();
    },
    recorder,
    clock,
    newId: () => 'id',
    shedStatus: 503,
    keepAliveTimeoutMs: 75_000,
    tls: undefined,
    memory: new RequestMemory(1024 ** 2),
    callLimits: new CallLimits(1000),
    log: { warn: () => undefined },
    maxConnections: 1000,
    maxConnectionsPerAddress: 1000,
    peers: new Peers(),
    isTrustedProxy: () => false,
  });
  open = listener;
  listener.server.listen(0, '127.0.0.1');
  await once(listener.server, 'listening');
  const address = listener.server.address();
  return { listener, port: typeof address === 'object' && address !== null ? address.port : 0 };
}

test('a drain does not end before the caller has read the last byte of its answer', async () => {
  const answer = Buffer.alloc(32 * 1024 * 1024, 'a');
  const { listener, port } = await listening(({ outgoing }) => void outgoing.end(answer));
  const outgoing = request({ port, host: '127.0.0.1' });
  outgoing.end();
  const [incoming] = await once(outgoing, 'response');

  let drained = false;
  const drain = listener.drain().then(() => {
    drained = true;
  });
  for (let turn = 0; turn < 10; turn++) await nextTurn();
  expect(drained).toBe(false);

  let bytes = 0;
  incoming.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await Promise.all([once(incoming, 'end'), drain]);
  expect(bytes).toBe(answer.length);
});

test('of a request with very many headers, at most a part is kept', async () => {
  let kept = 0;
  const { port } = await listening(({ incoming, outgoing }) => {
    kept = incoming.rawHeaders.length / 2;
    outgoing.end();
  });
  const headers = 'X:\r\n'.repeat(9000);
  await exchangeRaw(
    `http://127.0.0.1:${port}`,
    `GET / HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`,
  );
  expect(kept).toBeLessThan(300);
});

test('the rest of a body is read for half a minute after its call was answered', async () => {
  const clock = new FakeClock();
  const { port } = await listening(({ outgoing }) => void outgoing.end('no'), clock);
  const raw = await openRaw(`http://127.0.0.1:${port}`);
  raw.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart');
  await raw.until((text) => text.endsWith('no'));
  clock.advance(29_000);
  await nextTurn();
  expect(raw.ended).toBeUndefined();
  clock.advance(2000);
  await raw.end();
});

test('a connection on which nothing was sent is closed without an answer and a line', async () => {
  const lines: unknown[] = [];
  const { listener, port } = await listening(
    () => undefined,
    new FakeClock(),
    (line) => lines.push(line),
  );
  const late = Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
  const received: string[] = [];
  for (const sent of ['', 'GET / HTTP/1.1\r\nHost']) {
    const accepted = once(listener.server, 'connection');
    const caller = await openRaw(`http://127.0.0.1:${port}`);
    const [socket] = await accepted;
    if (sent !== '') {
      caller.write(sent);
      await until('it has arrived', () => socket.bytesRead > 0);
    }
    // What Node reports when the headers of a request are late.
    listener.server.emit('clientError', late, socket);
    await caller.end();
    received.push(caller.received.slice(0, 12));
  }
  expect(received).toEqual(['', 'HTTP/1.1 408']);
  expect(lines).toMatchObject([{ code: 'request-timeout' }]);
});
