import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { Call } from '../../src/gateway/call.ts';
import { CallLimits } from '../../src/gateway/identify/call-limits.ts';
import { makeListener } from '../../src/gateway/connections/listener.ts';
import { Peers } from '../../src/gateway/connections/peers.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { openRaw, type RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpHeldApi, untilWaiting } from '../http/setup.ts';

const MIB = 1024 ** 2;

const get = (path: string, fields = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

interface Scene {
  /** The calls that have started, in their order. */
  readonly started: Call[];
  readonly memory: RequestMemory;
  readonly clock: FakeClock;
  readonly raw: RawSocket;
  /** The listener's side of the connection. */
  readonly socket: Socket;
  readonly open: () => Promise<RawSocket>;
}

/** A listener whose calls wait until a test answers them, and a connection to it. */
async function listening(memoryBytes = 64 * MIB): Promise<Scene> {
  const started: Call[] = [];
  const memory = new RequestMemory(memoryBytes);
  const clock = new FakeClock();
  const sockets: Socket[] = [];
  const listener = makeListener({
    gateway: (call) => {
      started.push(call);
      return new Promise((resolve) => {
        call.onGone(resolve);
        call.outgoing.once('finish', resolve);
      });
    },
    recorder: () => undefined,
    clock,
    newId: () => 'id',
    shedStatus: 503,
    keepAliveTimeoutMs: 75_000,
    tls: undefined,
    memory,
    callLimits: new CallLimits(1000),
    log: { warn: () => undefined },
    maxConnections: 1000,
    maxConnectionsPerAddress: 1000,
    peers: new Peers(),
    isTrustedProxy: () => false,
  });
  const { server } = listener;
  server.on('connection', (socket: Socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    listener.close();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const open = (): Promise<RawSocket> => openRaw(`http://127.0.0.1:${address.port}`);
  const raw = await open();
  await until('the connection is accepted', () => sockets.length > 0);
  const [socket] = sockets;
  if (socket === undefined) throw new Error('there is no connection');
  return { started, memory, clock, raw, socket, open };
}

const pathsOf = (calls: readonly Call[]): unknown[] => calls.map(({ incoming }) => incoming.url);

test('the next request of a connection starts when the answer to the one before has ended', async () => {
  const { started, raw, open } = await listening();
  raw.write(get('/1') + get('/2') + get('/3'));
  await until('the first has started', () => started.length > 0);
  const other = await open();
  other.write(get('/other'));
  await until('a request of another connection has started', () => started.length > 1);
  expect(pathsOf(started)).toEqual(['/1', '/other']);
  started[0]?.outgoing.write('half of');
  started[1]?.outgoing.end('other');
  await other.until((text) => text.includes('other'));
  expect(started).toHaveLength(2);
  started[0]?.outgoing.end('one');
  await until('the second has started', () => started.length > 2);
  started[2]?.outgoing.end('two');
  await until('the third has started', () => started.length > 3);
  started[3]?.outgoing.end('three');
  await raw.until((text) => text.endsWith('three'));
  expect(pathsOf(started)).toEqual(['/1', '/other', '/2', '/3']);
});

test('an upload behind another request is asked for when its turn has come', async () => {
  const { started, raw } = await listening();
  raw.write(
    `${get('/1')}POST /2 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
  );
  await until('the first has started', () => started.length > 0);
  started[0]?.outgoing.end('one');
  await until('the second has started', () => started.length > 1);
  expect(raw.received).not.toContain('100 Continue');
  started[1]?.sendContinue();
  await raw.until((text) => text.includes('100 Continue'));
  raw.write('hi');
  let body = '';
  started[1]?.incoming.on('data', (chunk: Buffer) => (body += String(chunk)));
  await until('the body has arrived', () => body === 'hi');
});

test.each(['destroy', 'resetAndDestroy'] as const)(
  'a caller that leaves (%s) while its request waits is noticed, with requests behind it',
  async (leave) => {
    const { api, gateway, release } = await setUpHeldApi();
    const raw = await openRaw(gateway.url);
    raw.write(get('/waits') + get('/behind').repeat(10));
    await untilWaiting(gateway, 1);
    raw.socket[leave]();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ path: '/waits', outcome: 'aborted', attempts: 0, waiting: 0 });
    release();
    expect(await ask(`${gateway.url}/next`)).toMatchObject({ text: 'ok' });
    expect(api.seen.map(({ url }) => url)).toEqual(['/held', '/next']);
  },
);

test('a connection is not read further while much is pipelined, and a reset of it is noticed', async () => {
  const { started, memory, clock, raw, socket } = await listening();
  const request = get('/', `X: ${'x'.repeat(30_000)}\r\n`);
  raw.write(request.repeat(1000));
  await until('the first has started', () => started.length > 0);
  await until('it is not read', () => socket.isPaused());
  for (let turn = 0; turn < 100; turn++) await nextTurn();
  expect(socket.bytesRead).toBeLessThan(MIB);
  expect(memory.bytes).toBeLessThan(MIB);
  raw.socket.resetAndDestroy();
  await until('the call has been told', () => {
    clock.advance(1000);
    return started[0]?.gone === true;
  });
  await until('nothing is kept', () => memory.bytes === 0);
  expect(started).toHaveLength(1);
  expect(clock.pending).toBe(0);
});

test('all of a thousand pipelined requests are answered, whatever they take together', async () => {
  const { started, memory, raw, socket } = await listening();
  const size = 4000;
  const request = get('/', `X: ${'x'.repeat(size)}\r\n`);
  raw.write(request.repeat(1000));
  let most = 0;
  for (let i = 0; i < 1000; i++) {
    await until(`request ${i} has started`, () => started.length > i);
    expect(started).toHaveLength(i + 1);
    most = Math.max(most, memory.bytes);
    started[i]?.outgoing.end('ok');
  }
  await raw.until((text) => text.split('HTTP/1.1 200').length === 1001);
  expect(most).toBeLessThan(MIB);
  expect(memory.bytes).toBe(0);
  expect(socket.listenerCount('close')).toBeLessThan(10);
});

test('when the memory of waiting requests is full, the connection that pipelines most is closed', async () => {
  const { started, memory, raw, open } = await listening(150 * 1024);
  const modest = await open();
  modest.write(get('/modest'));
  await until('it has started', () => started.length === 1);
  raw.write(get('/1') + get('/2').repeat(30));
  await raw.end();
  await until('its call has been told', () => started.some(({ gone }) => gone));
  expect(memory.bytes).toBe(0);
  const call = started.find(({ incoming }) => incoming.url === '/modest');
  call?.outgoing.end('served');
  await modest.until((text) => text.includes('served'));
});

test('a connection that pipelines less stays open, also if its request is the one too many', async () => {
  const { started, memory, raw, open } = await listening(150 * 1024);
  raw.write(get('/1') + get('/2').repeat(14));
  await until('they are held', () => memory.bytes > 100 * 1024);
  const modest = await open();
  modest.write(get('/modest') + get('/behind').repeat(5));
  await raw.end();
  const call = started.find(({ incoming }) => incoming.url === '/modest');
  call?.outgoing.end('served');
  expect(await modest.until((text) => text.includes('served'))).toMatch(/^HTTP\/1\.1 200 /);
});
