import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import type { LogLine } from '../support/captured-log.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

const MIB = 1024 ** 2;
const UPLOAD = `PUT /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${8 * MIB}\r\n\r\nx`;
const DOWNLOAD = 'GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n';
/** Its answer stops after a part, until the API finishes it. */
const TRICKLE = 'GET /trickle HTTP/1.1\r\nHost: localhost\r\n\r\n';
const SENT = `PUT /trickle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2048\r\n\r\n${'x'.repeat(2048)}`;
const WRITE = 'PUT /call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n';
const CALL = 'GET /call HTTP/1.1\r\nHost: localhost\r\n\r\n';
const ROOM = new Headers({ 'X-RateLimit-Limit': '100', 'X-RateLimit-Remaining': '99' });

interface Scene {
  readonly clock: FakeClock;
  readonly gateway: TestGateway;
  /** The requests that have reached the API. */
  readonly arrived: readonly string[];
  /** Finishes the answers of which the API has sent a part. */
  readonly finish: () => void;
  /** Sends `request` from an address of this host. Reads its answer unless told otherwise. */
  readonly send: (from: string, request: string, reads?: boolean) => Promise<RawSocket>;
}

/**
 * A gateway with four sockets to an API that answers /down with more than any buffer holds. `another`
 * is the URL of an API that it has under /another.
 */
async function setUp(another?: string): Promise<Scene> {
  const clock = new FakeClock();
  const arrived: string[] = [];
  const unfinished: ServerResponse[] = [];
  const api = await startApi((incoming, outgoing) => {
    arrived.push(incoming.url ?? '');
    outgoing.setHeaders(ROOM);
    if (incoming.url === '/trickle') {
      incoming.resume();
      outgoing.setHeader('Content-Length', 8);
      outgoing.write('part');
      unfinished.push(outgoing);
    } else if (incoming.url !== '/down') incoming.resume().on('end', () => outgoing.end('done'));
    else {
      outgoing.writeHead(200, { 'Content-Length': 64 * MIB });
      for (let i = 0; i < 64; i++) outgoing.write(Buffer.alloc(MIB));
    }
  });
  onTestFinished(() => api.close());
  const gateway = await startGateway({
    upstream: another === undefined ? api.url : '',
    clock,
    ...(another === undefined
      ? {}
      : {
          files: {
            'headgate.yaml': `apis: {one: {upstreamUrl: "${api.url}"}, two: {upstreamUrl: "${another}", match: {path: /another/**}}}`,
          },
        }),
    settings: {
      HEADGATE_UPSTREAM_CONNECTIONS: '4',
      // A larger body is streamed.
      HEADGATE_BODY_LIMIT: '1KiB',
      HEADGATE_BODY_MIN_RATE: '0',
      HEADGATE_BODY_IDLE_TIMEOUT: '1h',
      HEADGATE_UPSTREAM_TIMEOUT: '1h',
    },
  });
  onTestFinished(() => gateway.stop());
  const port = Number(new URL(gateway.url).port);
  const send: Scene['send'] = async (localAddress, request, reads = true) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    const raw = new RawSocket(socket);
    if (!reads) socket.pause();
    raw.write(request);
    return raw;
  };
  const finish = (): void => {
    for (const outgoing of unfinished) outgoing.end('done');
  };
  return { clock, gateway, arrived, finish, send };
}

/** Opens transfers that hold all four sockets, all from one address. */
async function holdAll({ send, arrived }: Scene, kinds: readonly string[]): Promise<RawSocket[]> {
  const held: RawSocket[] = [];
  // An answer opens a bucket: until then one request is sent at a time. Reads and writes have one each.
  for (const request of [CALL, WRITE]) {
    const first = await send('127.0.0.1', request);
    await first.until((text) => text.includes('done'));
  }
  for (const kind of kinds) {
    held.push(await send('127.0.0.1', kind, kind !== DOWNLOAD));
    await until('it holds a socket', () => arrived.length === held.length + 2);
  }
  return held;
}

/** Advances the clock second by second, with time for sockets in between. */
async function pass(seconds: number, { clock, gateway }: Scene): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    clock.advance(1000);
    await ask(`${gateway.adminUrl}/health/live`);
  }
}

test.each([
  ['uploads', [UPLOAD, UPLOAD, UPLOAD, UPLOAD]],
  ['downloads and uploads', [DOWNLOAD, UPLOAD, DOWNLOAD, UPLOAD]],
])(
  'slow %s of one owner keep half of the sockets when another owner needs one',
  async (_name, kinds) => {
    const scene = await setUp();
    const calls = (): LogLine[] => scene.gateway.log.named('call');
    const held = await holdAll(scene, kinds);
    // The owner has the sockets for itself as long as it is alone.
    await pass(20, scene);
    expect(calls()).toHaveLength(2);

    const other = await scene.send('127.0.0.2', CALL);
    await until('the call waits', async () => {
      await pass(1, scene);
      return other.received !== '';
    });
    expect(other.received).toMatch(/^HTTP\/1\.1 200 /);
    const newest = held[3];
    if (newest === undefined) throw new Error('expected four transfers');
    const refusal = await newest.until((text) => text.includes('requestId'));
    expect(refusal).toMatch(/^HTTP\/1\.1 503 /);
    expect(refusal).toContain('Headgate-Error: socket-share');
    expect(refusal).toContain('Retry-After: 1');
    await until('the lines are there', () => calls().length === 5);
    expect(calls().filter(({ code }) => code === 'socket-share')).toMatchObject([
      { outcome: 'failed' },
      { outcome: 'failed' },
    ]);
    // The other two go on, for ever if they must.
    await pass(30, scene);
    expect(calls()).toHaveLength(5);
  },
);

test('two owners whose slow transfers hold all sockets leave some to a third', async () => {
  const scene = await setUp();
  const { send, arrived, gateway } = scene;
  const held = await holdAll(scene, [UPLOAD, UPLOAD]);
  for (let i = 3; i <= 4; i++) {
    held.push(await send('127.0.0.3', UPLOAD));
    await until('it holds a socket', () => arrived.length === i + 2);
  }
  // Both have their half as long as no other owner needs a socket.
  await pass(20, scene);
  expect(gateway.log.count('call')).toBe(2);

  const other = await send('127.0.0.2', CALL);
  await until('the call waits', async () => {
    await pass(1, scene);
    return other.received !== '';
  });
  expect(other.received).toMatch(/^HTTP\/1\.1 200 /);
  await until('the newest of both are cut off', () => gateway.log.count('call') === 5);
  const ends = held.map(({ received }) => received.slice(0, 'HTTP/1.1 503'.length));
  expect(ends).toEqual(['', 'HTTP/1.1 503', '', 'HTTP/1.1 503']);
  await pass(30, scene);
  expect(gateway.log.count('call')).toBe(5);
});

test.each([
  ['an answer that waits', TRICKLE],
  ['an upload that has arrived and waits', SENT],
])('%s for the API is not slow, and leaves nothing when it ends', async (_name, kind) => {
  const scene = await setUp();
  const { clock, send, gateway } = scene;
  const held = await holdAll(scene, [kind, kind, kind, kind]);
  await Promise.all(held.map((raw) => raw.until((text) => text.endsWith('part'))));
  const other = await send('127.0.0.2', CALL);
  await pass(20, scene);
  expect(gateway.log.count('call')).toBe(2);
  scene.finish();
  await gateway.log.wait('call', 7);
  await other.until((text) => text.endsWith('done'));
  for (const raw of held) expect(raw.received).toMatch(/^HTTP\/1\.1 200 [^]*part/);
  // The check ends when it finds no transfer.
  const before = clock.pending;
  await pass(2, scene);
  expect(clock.pending).toBeLessThan(before);
});

test('an owner that is alone at one of several APIs keeps all sockets to it', async () => {
  const asked: ServerResponse[] = [];
  const another = await startApi((_incoming, outgoing) => void asked.push(outgoing));
  onTestFinished(() => another.close());
  const scene = await setUp(another.url);
  const calls = (): LogLine[] => scene.gateway.log.named('call');
  await holdAll(scene, [DOWNLOAD, DOWNLOAD, DOWNLOAD, DOWNLOAD]);
  await scene.send('127.0.0.2', 'GET /another/call HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await until('the other API has its request', () => asked.length === 1);
  await pass(20, scene);
  expect(calls()).toHaveLength(2);
});
