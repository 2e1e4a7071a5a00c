import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { endianness } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { makeSendQueue } from '../../src/gateway/connections/send-queue.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/setup.ts';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n';
const V4 = {
  localFamily: 'IPv4',
  localAddress: '127.0.0.1',
  localPort: 8080,
  remoteAddress: '10.1.2.3',
  remotePort: 513,
};

test.runIf(endianness() === 'LE')('the queue is the one of the connection', async () => {
  const tables: Record<string, string> = {
    '/proc/net/tcp': `${HEAD}   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000
   1: 0100007F:1F90 0302010A:0202 01 00000007:00000000 00:00000000
   2: 0100007F:1F90 0302010A:0201 01 0001000A:00000000 00:00000000\n`,
    '/proc/net/tcp6': `${HEAD}   0: 00000000000000000000000001000000:1F90 B80D0120000000000000000001000000:0201 01 00000003:00000000
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000302010A:0201 01 00000004:00000000\n`,
  };
  const sendQueue = makeSendQueue(new FakeClock(), (path) => Promise.resolve(tables[path]));
  expect(await sendQueue(V4)).toBe(0x1000a);
  const v6 = { ...V4, localFamily: 'IPv6', localAddress: '::1', remoteAddress: '2001:db8::1' };
  expect(await sendQueue(v6)).toBe(3);
  const mapped = { localAddress: '::ffff:127.0.0.1', remoteAddress: '::ffff:10.1.2.3' };
  expect(await sendQueue({ ...v6, ...mapped })).toBe(4);
  expect(await sendQueue({ ...V4, remotePort: 514 })).toBe(7);
  expect(await sendQueue({ ...V4, remotePort: 515 })).toBeUndefined();
});

test('no queue is known without a table', async () => {
  const sendQueue = makeSendQueue(new FakeClock(), () => Promise.resolve(undefined));
  expect(await sendQueue(V4)).toBeUndefined();
});

test.runIf(process.platform === 'linux').each(['127.0.0.1', '::1'])(
  'the system reports what a caller at %s has not read',
  async (host) => {
    let writer: Socket | undefined;
    const server = createServer((socket) => {
      writer = socket;
      socket.on('error', () => undefined);
      while (socket.write(Buffer.alloc(1024 * 1024)));
    });
    server.listen(0, host);
    await once(server, 'listening');
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const reader = connect(port, host);
    onTestFinished(() => {
      reader.destroy();
      writer?.destroy();
      server.close();
    });
    const clock = new FakeClock();
    const sendQueue = makeSendQueue(clock);
    let queued = 0;
    await until('bytes wait', async () => {
      clock.advance(1000);
      queued = writer === undefined ? 0 : ((await sendQueue(writer)) ?? 0);
      return queued > 0;
    });
    expect(queued).toBeGreaterThan(0);
  },
);
