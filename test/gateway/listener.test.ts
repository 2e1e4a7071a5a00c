import { once } from 'node:events';
import { request } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { CallLimits } from '../../src/gateway/call-limits.ts';
import { makeListener, type Listener } from '../../src/gateway/listener.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import { FakeClock } from '../support/fake-clock.ts';

let listener: Listener | undefined;

afterEach(() => {
  listener?.server.closeAllConnections();
  listener?.server.close();
});

test('a drain does not end before the caller has read the last byte of its answer', async () => {
  const answer = Buffer.alloc(32 * 1024 * 1024, 'a');
  listener = makeListener({
    gateway: ({ outgoing }) => {
      outgoing.end(answer);
      return Promise.resolve();
    },
    recorder: () => undefined,
    clock: new FakeClock(),
    newId: () => 'id',
    shedStatus: 503,
    keepAliveTimeoutMs: 75_000,
    tls: undefined,
    memory: new RequestMemory(1024 ** 2),
    callLimits: new CallLimits(1000),
  });
  listener.server.listen(0, '127.0.0.1');
  await once(listener.server, 'listening');
  const address = listener.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
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
