import { once } from 'node:events';
import { createServer } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { Call } from '../../src/gateway/call.ts';
import { GatewayError } from '../../src/gateway/problem.ts';
import { makeWatchReading } from '../../src/gateway/connections/reading-watch.ts';
import { makeRefuse } from '../../src/gateway/respond.ts';
import { streamAnswer } from '../../src/gateway/respond/stream-answer.ts';
import { makeWatchUnread, type WatchUnread } from '../../src/gateway/respond/unread-answers.ts';
import { makeLog, type Log } from '../../src/telemetry/log.ts';
import { RequestMemory } from '../../src/upstream/request-memory.ts';
import { setUpApi } from '../http/setup.ts';
import { answerWith } from '../support/answer.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestGateway } from '../support/gateway.ts';
import { openRaw, type RawSocket } from '../support/raw-socket.ts';
import { until, untilStill } from '../support/setup.ts';

const ANSWER = Buffer.alloc(60 * 1024, 'a');

async function setUp(
  settings: Record<string, string> = {},
): Promise<{ clock: FakeClock; gateway: TestGateway }> {
  const clock = new FakeClock();
  const { gateway } = await setUpApi(
    (_incoming, outgoing) => {
      outgoing.setHeader('Content-Length', ANSWER.length);
      outgoing.end(ANSWER);
    },
    { HEADGATE_PRESET: 'none', ...settings },
    { clock },
  );
  return { clock, gateway };
}

async function metric(name: string, { adminUrl }: TestGateway): Promise<number> {
  const { text } = await ask(`${adminUrl}/metrics`);
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
}

/** Bytes that count against the memory of waiting requests. */
function heldBytes(gateway: TestGateway): Promise<number> {
  return metric('headgate_buffered_bytes', gateway);
}

function openConnections(gateway: TestGateway): Promise<number> {
  return metric('headgate_connections', gateway);
}

/**
 * Asks for more answers than the buffers of a connection hold, and reads none of them. Resolves when
 * one of them stays in the gateway's memory, or when the gateway has closed the connection.
 */
async function askWithoutReading(gateway: TestGateway): Promise<RawSocket> {
  const raw = await openRaw(gateway.url);
  raw.socket.pause();
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100));
  await gateway.log.wait('call', 1);
  await untilStill(() => gateway.log.count('call'));
  return raw;
}

/** How many answers came whole. */
function answersOn({ received }: RawSocket): number {
  return received.split('HTTP/1.1 200').length - 1;
}

test('an answer that is not read counts as memory, and its connection is closed after a time', async () => {
  const { clock, gateway } = await setUp();
  const raw = await askWithoutReading(gateway);
  expect(await heldBytes(gateway)).toBeGreaterThan(ANSWER.length);
  // A caller may stop reading for 30 s, and read at 1 KiB a second.
  clock.advance(29_000);
  expect(await heldBytes(gateway)).toBeGreaterThan(ANSWER.length);
  // The gateway reads the system's table of connections outside of the event loop, so the figures of
  // one check may come only after the next one.
  await until('its memory is free', async () => {
    clock.advance(1000);
    return (await heldBytes(gateway)) === 0;
  });
  raw.socket.resume();
  await raw.end();
  expect(answersOn(raw)).toBeLessThan(100);
});

test('answers that are not read cannot fill the memory of waiting requests', async () => {
  const { gateway } = await setUp({ HEADGATE_BODY_MEMORY: '300KiB' });
  // The requests behind it take 256 KiB, and the answer does not fit beside them.
  const raw = await askWithoutReading(gateway);
  await until('its connection is closed', async () => (await openConnections(gateway)) === 0);
  expect(await heldBytes(gateway)).toBeLessThanOrEqual(300 * 1024);
  raw.socket.resume();
  await raw.end();
  expect(answersOn(raw)).toBeLessThan(100);
  expect(await ask(`${gateway.url}/b`)).toMatchObject({ status: 200, complete: true });
});

test('an answer that is read in the end releases its memory', async () => {
  const { gateway } = await setUp();
  const raw = await askWithoutReading(gateway);
  expect(await heldBytes(gateway)).toBeGreaterThan(ANSWER.length);
  raw.socket.resume();
  await until('all are read', () => answersOn(raw) === 100);
  await until('the memory is free', async () => (await heldBytes(gateway)) === 0);
  raw.socket.destroy();
});

/** A call over a connection whose buffers are full, because its caller reads nothing. */
async function callBehindFullBuffers(): Promise<{ call: Call; raw: RawSocket }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const requested = new Promise<Pick<Call, 'incoming' | 'outgoing'>>((resolve) => {
    server.once('request', (incoming, outgoing) => resolve({ incoming, outgoing }));
  });
  const raw = await openRaw(`http://127.0.0.1:${address.port}`);
  onTestFinished(() => void raw.socket.destroy());
  raw.socket.pause();
  raw.write(`GET /a HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(10_000)}\r\n\r\n`);
  const { incoming, outgoing } = await requested;
  outgoing.socket?.write(Buffer.alloc(64 * 1024 ** 2));
  return { call: new Call('id', incoming, outgoing, 0), raw };
}

const refused = new GatewayError('bad-request', 'refused by the test');

test.each<[string, (call: Call, watchUnread: WatchUnread, log: Log) => void]>([
  [
    'answer',
    (call, watchUnread) => {
      call.outgoing.end('small');
      watchUnread(call, 5);
    },
  ],
  [
    'refusal',
    (call, watchUnread, log) =>
      void makeRefuse({ log, watchUnread, hasToken: false, credentialFields: [] })(
        call,
        refused,
        503,
      ),
  ],
])(
  'a small %s behind full buffers counts with its request, and has a time limit',
  async (_name, answer) => {
    const clock = new FakeClock();
    const memory = new RequestMemory(1024 ** 2);
    const limits = { idleTimeoutMs: 30_000, leastRate: 1024 };
    const destination = { write: () => undefined };
    const log = makeLog({ level: 'info', replica: 'test', clock, destination });
    const { call, raw } = await callBehindFullBuffers();
    const watchReading = makeWatchReading({ clock, sendQueue: () => Promise.resolve(undefined) });
    answer(call, makeWatchUnread({ memory, watchReading, ...limits }), log);
    await until('it counts', () => memory.bytes > 0);
    expect(memory.bytes).toBeGreaterThan(18_000);
    clock.advance(31_000);
    await once(call.outgoing, 'close');
    expect(memory.bytes).toBe(0);
    expect(clock.pending).toBe(0);
    raw.socket.resume();
    await raw.end();
    expect(raw.received).not.toContain('HTTP/1.1 ');
  },
);

test('the rest of an answer that passes through streams has a time limit when the API has ended', async () => {
  const clock = new FakeClock();
  const watchReading = makeWatchReading({ clock, sendQueue: () => Promise.resolve(undefined) });
  const { call, raw } = await callBehindFullBuffers();
  const response = answerWith();
  const ended = streamAnswer(
    { call, dropsCookies: false },
    response,
    {
      idleTimeoutMs: 30_000,
      socketShare: { watch: () => () => undefined },
      watchReading,
      watchUnread: () => undefined,
    },
    [new PassThrough(), new PassThrough(), new PassThrough()],
  );
  response.received(Buffer.from('the whole body'));
  response.complete([]);
  await untilStill(() => clock.pending);
  let isOver = false;
  void ended.then(() => (isOver = true));
  await until('its time is over', () => {
    clock.advance(1000);
    return isOver;
  });
  expect(await ended).toEqual({ kind: 'failed', code: 'body-timeout' });
  expect(call.outgoing.destroyed).toBe(true);
  expect(clock.pending).toBe(0);
  raw.socket.destroy();
});

test('an answer that is not read has no time limit without a least rate', async () => {
  const { clock, gateway } = await setUp({ HEADGATE_BODY_MIN_RATE: '0' });
  const raw = await askWithoutReading(gateway);
  clock.advance(3_600_000);
  await gateway.log.wait('call', 1);
  expect(await heldBytes(gateway)).toBeGreaterThan(ANSWER.length);
  raw.socket.resume();
  await until('all are read', () => answersOn(raw) === 100);
  raw.socket.destroy();
});
