import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { GatewayError } from '../../src/gateway/problem.ts';
import {
  dialForTunnels,
  isForTunnels,
  makeTunnels,
  MAX_TUNNELS,
  type Dial,
} from '../../src/gateway/proxy/tunnels.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { openRaw, startRawServer, type RawServer, type RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

interface Setup {
  readonly clock: FakeClock;
  readonly lines: Readonly<Record<string, unknown>>[];
  readonly errors: GatewayError[];
  /** Opens a connection whose CONNECT leads to the far server, with these bytes behind it. */
  readonly open: (behind?: string) => Promise<RawSocket>;
  /** Removes the keys of the clients that have tunnels. */
  readonly removeKeys: () => void;
  readonly close: () => void;
}

/** Starts a proxy whose tunnels lead where `dial` connects. */
async function setUp(dial: Dial): Promise<Setup> {
  const clock = new FakeClock();
  const lines: Record<string, unknown>[] = [];
  const errors: GatewayError[] = [];
  let ids = 0;
  let hasKeys = true;
  const tunnels = makeTunnels({
    dial,
    clock,
    newId: () => `id-${ids++}`,
    log: { info: (line, msg) => void lines.push({ ...line, msg }) },
  });
  const server = createServer();
  server.on('connect', (_incoming, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const isAllowed = (): boolean => hasKeys;
    const target = { host: 'far.example', port: 443, address: '127.0.0.1', isAllowed };
    tunnels.open(socket, head, target, {
      handOver: () => undefined,
      refuse(error) {
        errors.push(error);
        socket.destroy();
      },
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  onTestFinished(() => {
    tunnels.close();
    server.closeAllConnections();
    server.close();
  });
  return {
    clock,
    lines,
    errors,
    async open(behind = '') {
      const raw = await openRaw(`http://127.0.0.1:${port}`);
      onTestFinished(() => void raw.socket.destroy());
      raw.write(`CONNECT far.example:443 HTTP/1.1\r\n\r\n${behind}`);
      return raw;
    },
    removeKeys() {
      hasKeys = false;
    },
    close: () => tunnels.close(),
  };
}

/** Starts a server that returns each byte. */
async function echo(): Promise<RawServer> {
  const server = await startRawServer(({ socket }) => void socket.pipe(socket));
  onTestFinished(() => server.close());
  return server;
}

function dialTo({ url }: RawServer): Dial {
  return () => connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
}

describe('a tunnel', () => {
  test('passes bytes both ways, those behind the CONNECT first, and is logged once', async () => {
    const { open, lines, clock } = await setUp(dialTo(await echo()));
    const raw = await open('first');
    await raw.until((text) => text.endsWith('\r\n\r\nfirst'));
    raw.write('\u0000second');
    await raw.until((text) => text.endsWith('first\u0000second'));
    expect(lines).toEqual([]);
    clock.advance(1500);
    raw.socket.end();
    await raw.end();
    await until('it is logged', () => lines.length > 0);
    expect(lines).toEqual([
      {
        id: 'id-0',
        host: 'far.example',
        port: 443,
        address: '127.0.0.1',
        end: 'closed',
        totalMs: 1500,
        bytesIn: 12,
        bytesOut: 12,
        msg: 'tunnel',
      },
    ]);
  });

  test('passes the end of each side on by itself', async () => {
    const server = await startRawServer(({ socket }) => {
      socket.on('end', () => socket.end('all of it'));
    });
    onTestFinished(() => server.close());
    const { open } = await setUp(dialTo(server));
    const raw = await open();
    await raw.until((text) => text.includes('\r\n\r\n'));
    raw.socket.end('asked');
    await raw.end();
    expect(raw.received).toMatch(/\r\n\r\nall of it$/);
  });

  test('ends when no byte has moved for the idle time, and not before', async () => {
    const { open, lines, clock } = await setUp(dialTo(await echo()));
    const raw = await open();
    await raw.until((text) => text.includes('\r\n\r\n'));
    for (const byte of ['a', 'b', 'c']) {
      raw.write(byte);
      await raw.until((text) => text.endsWith(byte));
      clock.advance(5 * 60_000);
    }
    expect(raw.ended).toBeUndefined();
    clock.advance(5 * 60_000);
    await raw.end();
    await until('it is logged', () => lines.length > 0);
    expect(lines).toMatchObject([{ end: 'idle', bytesIn: 3, bytesOut: 3 }]);
  });

  test('ends within 5 minutes after its key was removed, although bytes move', async () => {
    const { open, removeKeys, lines, clock } = await setUp(dialTo(await echo()));
    const raw = await open('a');
    await raw.until((text) => text.endsWith('a'));
    clock.advance(4 * 60_000);
    removeKeys();
    raw.write('b');
    await raw.until((text) => text.endsWith('b'));
    clock.advance(60_000);
    await raw.end();
    await until('it is logged', () => lines.length > 0);
    expect(lines).toMatchObject([{ end: 'refused', bytesIn: 2 }]);
  });

  test('ends with the other side, and when the gateway ends', async () => {
    const server = await echo();
    const { open, close, lines } = await setUp(dialTo(server));
    const one = await open();
    await one.until((text) => text.includes('\r\n\r\n'));
    server.connections[0]?.socket.destroy();
    await one.end();
    const other = await open();
    await other.until((text) => text.includes('\r\n\r\n'));
    await until('the first is logged', () => lines.length === 1);
    // The log ends with the process, so the line is written at once.
    close();
    expect(lines).toHaveLength(2);
    await other.end();
    expect(lines).toMatchObject([{ msg: 'tunnel' }, { msg: 'tunnel' }]);
  });

  test('that cannot be opened is refused, at the latest after ten seconds', async () => {
    // No process of a test listens on a port as low as that.
    const refused = await setUp(() => connect({ port: 9, host: '127.0.0.1' }));
    await (await refused.open()).end();
    expect(refused.errors).toMatchObject([
      { code: 'tunnel-failed', message: 'far.example cannot be reached (ECONNREFUSED)' },
    ]);
    expect(refused.lines).toEqual([]);

    // A name server that does not answer.
    const slow = await setUp(() =>
      connect({ host: 'far.example', port: 443, lookup: () => undefined }),
    );
    const raw = await slow.open();
    await until('it is dialled', () => slow.clock.pending === 1);
    slow.clock.advance(10_000);
    await raw.end();
    expect(slow.errors).toMatchObject([{ code: 'tunnel-failed' }]);
    expect(slow.clock.pending).toBe(0);
  });

  test('is refused beyond half of the places, to one address', async () => {
    const { open, errors } = await setUp(dialTo(await echo()));
    const raws: RawSocket[] = [];
    for (let n = 0; n < MAX_TUNNELS / 2; n++) {
      const raw = await open();
      await raw.until((text) => text.includes('\r\n\r\n'));
      raws.push(raw);
    }
    await (await open()).end();
    expect(errors).toMatchObject([{ code: 'too-many-tunnels', retryAfterMs: 1000 }]);
    raws[0]?.socket.destroy();
    await until('there is room again', async () => {
      const raw = await open();
      await Promise.race([raw.end(), raw.until((text) => text.includes('\r\n\r\n'))]);
      return raw.received.startsWith('HTTP/1.1 200 ');
    });
  });
});

describe('the addresses that a tunnel may reach', () => {
  test.each([
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
  ])('are not %s', (address) => {
    expect(isForTunnels(address)).toBe(false);
    expect(isForTunnels(`::ffff:${address}`)).toBe(false);
  });

  test.each(['::', '::1', 'fe80::1', 'ff02::1', 'fd00:ec2::254', '::ffff:7f00:1', 'localhost', ''])(
    'are not %s',
    (address) => expect(isForTunnels(address)).toBe(false),
  );

  test.each(['192.0.2.1', '10.0.0.5', '2001:db8::1', 'fd00::1'])('may be %s', (address) => {
    expect(isForTunnels(address)).toBe(true);
  });

  test('are checked behind the name', async () => {
    for (const name of ['localhost', '127.1', '2130706433', '0x7f.1']) {
      const [error] = await once(dialForTunnels(name, 9), 'error');
      expect([name, error.code]).toEqual([
        name,
        expect.stringMatching(/^(?:EFORBIDDEN|ENOTFOUND)$/),
      ]);
    }
  });
});
