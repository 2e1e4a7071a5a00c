import { once } from 'node:events';
import { createServer } from 'node:http';
import { Transform } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { readBody, type StreamedBody } from '../../src/upstream/body.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { openRaw, type RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

const KIB = 1024;

interface Scene {
  readonly clock: FakeClock;
  readonly raw: RawSocket;
  readonly stream: Transform;
  /** What the body was reported for. */
  readonly reports: string[];
  /** Sends bytes, and waits until they have been read. */
  readonly send: (bytes: number) => Promise<void>;
}

/** An upload that is being streamed. Nobody reads the stream yet. */
async function streaming(leastRate = KIB): Promise<Scene> {
  const clock = new FakeClock();
  const reports: string[] = [];
  let received = 0;
  const taken = new Promise<StreamedBody>((resolve, reject) => {
    const server = createServer((incoming, outgoing) => {
      const body = readBody(
        {
          incoming,
          gone: false,
          get ended() {
            return outgoing.writableEnded;
          },
          onGone: () => () => undefined,
          received: (bytes) => (received += bytes),
          sendContinue: () => undefined,
          kept: () => undefined,
          sending: () => () => undefined,
          stalled: () => reports.push('stalled'),
          tooSlow: () => reports.push('too slow'),
          tooLarge: () => reports.push('too large'),
        },
        { keepBytes: 0, mostBytes: 2 ** 30, idleTimeoutMs: 3_600_000, leastRate, clock },
      );
      if (body instanceof Promise) reject(new Error('expected a body that is streamed'));
      else resolve(body);
    });
    server.listen(0, '127.0.0.1');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    server.once('listening', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      opened = openRaw(`http://127.0.0.1:${address.port}`);
      void opened.then((socket) => {
        socket.write('PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n');
      });
    });
  });
  let opened: Promise<RawSocket> | undefined;
  const stream = (await taken).take();
  const raw = await opened;
  if (raw === undefined || !(stream instanceof Transform)) throw new Error('expected a stream');
  stream.on('error', () => undefined);
  return {
    clock,
    raw,
    stream,
    reports,
    async send(bytes) {
      const expected = received + bytes;
      raw.write(Buffer.alloc(bytes));
      await until('the bytes are read', () => received === expected);
    },
  };
}

test('an upload of one byte now and then is reported after twenty seconds', async () => {
  const { clock, stream, reports, send } = await streaming();
  stream.resume();
  for (let second = 0; second < 19; second++) {
    await send(1);
    clock.advance(1000);
  }
  expect(reports).toEqual([]);
  clock.advance(1000);
  expect(reports).toEqual(['too slow']);
  clock.advance(60_000);
  expect(reports).toEqual(['too slow']);
});

test('an upload at the least rate goes on, and is reported once it is slower', async () => {
  const { clock, stream, reports, send } = await streaming();
  stream.resume();
  clock.advance(10_000);
  for (let window = 0; window < 100; window++) {
    await send(10 * KIB);
    clock.advance(10_000);
  }
  expect(reports).toEqual([]);
  await send(10 * KIB - 1);
  clock.advance(10_000);
  expect(reports).toEqual(['too slow']);
});

test('time in which the API does not read does not count', async () => {
  const { clock, raw, stream, reports } = await streaming();
  raw.write(Buffer.alloc(1024 * KIB));
  await until('the stream is full', () => stream.writableNeedDrain);
  clock.advance(3_000_000);
  expect(reports).toEqual([]);
});

test('no rate is asked for with 0, and none of an upload that has ended', async () => {
  const any = await streaming(0);
  any.stream.resume();
  for (let i = 0; i < 10; i++) any.clock.advance(10_000);
  expect(any.reports).toEqual([]);
  const ended = await streaming();
  ended.stream.destroy();
  await once(ended.stream, 'close');
  expect(ended.clock.pending).toBe(0);
});
