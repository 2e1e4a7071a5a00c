import { once } from 'node:events';
import { request, type Server } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { CallLimits } from '../../src/gateway/call-limits.ts';
import { makeListener, type Listener } from '../../src/gateway/listener.ts';
import { Peers } from '../../src/gateway/peers.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import type { Gateway } from '../../src/gateway/gateway.ts';
import type { CallRecorder } from '../../src/telemetry/call-line.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

let listener: Listener | undefined;

afterEach(() => {
  listener?.server.closeAllConnections();
  listener?.server.close();
});

/** Starts a listener on a free port. */
async function listening(
  recorder: CallRecorder,
  gateway: Gateway = () => Promise.resolve(),
): Promise<{ server: Server; port: number }> {
  listener = makeListener({
    gateway,
    recorder,
    clock: new FakeClock(),
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
  listener.server.listen(0, '127.0.0.1');
  await once(listener.server, 'listening');
  const address = listener.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return { server: listener.server, port };
}

test('a drain does not end before the caller has read the last byte of its answer', async () => {
  const answer = Buffer.alloc(32 * 1024 * 1024, 'a');
  const { port } = await listening(
    () => undefined,
    ({ outgoing }) => {
      outgoing.end(answer);
      return Promise.resolve();
    },
  );
  const outgoing = request({ port, host: '127.0.0.1' });
  outgoing.end();
  const [incoming] = await once(outgoing, 'response');

  let drained = false;
  const drain = listener?.drain().then(() => {
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

test('a connection on which nothing was sent is closed without an answer and a line', async () => {
  const lines: unknown[] = [];
  const { server, port } = await listening((line) => lines.push(line));
  const late = Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
  const received: string[] = [];
  for (const sent of ['', 'GET / HTTP/1.1\r\nHost']) {
    const accepted = once(server, 'connection');
    const caller = await openRaw(`http://127.0.0.1:${port}`);
    const [socket] = await accepted;
    if (sent !== '') {
      caller.write(sent);
      await until('it has arrived', () => socket.bytesRead > 0);
    }
    // What Node reports when the headers of a request are late.
    server.emit('clientError', late, socket);
    await caller.end();
    received.push(caller.received.slice(0, 12));
  }
  expect(received).toEqual(['', 'HTTP/1.1 408']);
  expect(lines).toMatchObject([{ code: 'request-timeout' }]);
});
