import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ok, setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { Certificates } from '../support/certificates.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { openRaw, RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { needs } from '../support/tools.ts';

const LIMITS = {
  HEADGATE_MAX_CONNECTIONS: '3',
  HEADGATE_MAX_CONNECTIONS_PER_ADDRESS: '2',
};

async function start(
  settings: Record<string, string>,
  clock = new FakeClock(),
): Promise<TestGateway> {
  const gateway = await startGateway({ clock, settings });
  onTestFinished(() => gateway.stop());
  return gateway;
}

/** Connects from an address of this host. */
async function connectFrom(gateway: TestGateway, localAddress: string): Promise<RawSocket> {
  const port = Number(new URL(gateway.url).port);
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return new RawSocket(socket);
}

/** How many connections of callers are open, by the metrics. */
async function openConnections(gateway: TestGateway): Promise<number> {
  const { text } = await ask(`${gateway.adminUrl}/metrics`);
  return Number(/^headgate_connections (\d+)$/m.exec(text)?.[1]);
}

test('connections beyond the bounds are closed at once, and admin answers meanwhile', async () => {
  const clock = new FakeClock();
  const gateway = await start(LIMITS, clock);
  const first = await connectFrom(gateway, '127.0.0.1');
  const second = await connectFrom(gateway, '127.0.0.1');
  await until('both are accepted', async () => (await openConnections(gateway)) === 2);
  await (await connectFrom(gateway, '127.0.0.1')).end();
  second.socket.destroy();
  await until('one is left', async () => (await openConnections(gateway)) === 1);
  await connectFrom(gateway, '127.0.0.2');
  await connectFrom(gateway, '127.0.0.3');
  await until('three are accepted', async () => (await openConnections(gateway)) === 3);
  for (let i = 0; i < 3; i++) await (await connectFrom(gateway, '127.0.0.4')).end();

  expect((await ask(`${gateway.adminUrl}/health/live`)).status).toBe(200);
  const { text: metrics } = await ask(`${gateway.adminUrl}/metrics`);
  expect(metrics).toContain('headgate_connections_refused_total{bound="address"} 1');
  expect(metrics).toContain('headgate_connections_refused_total{bound="all"} 3');
  const refusals = (): unknown[] => gateway.log.named('connections refused');
  expect(refusals()).toMatchObject([
    {
      level: 'warn',
      tooManyInAll: 0,
      tooManyOfOneAddress: 1,
      lastAddress: '127.0.0.1',
      open: 2,
      maxConnections: 3,
      maxConnectionsPerAddress: 2,
    },
  ]);
  clock.advance(60_000);
  await (await connectFrom(gateway, '127.0.0.4')).end();
  expect(refusals().slice(1)).toMatchObject([{ tooManyInAll: 4, tooManyOfOneAddress: 0 }]);

  // A connection that was accepted is served, and one that ends makes room.
  first.write('GET http://elsewhere.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  expect(await first.until((text) => text.includes('requestId'))).toMatch(/^HTTP\/1\.1 403 /);
  await first.end();
  await until('two are left', async () => (await openConnections(gateway)) === 2);
  const next = await connectFrom(gateway, '127.0.0.1');
  await until('it is accepted', async () => (await openConnections(gateway)) === 3);
  expect(next.ended).toBeUndefined();
});

describe('when there are too many connections in all', () => {
  const FOUR = { HEADGATE_MAX_CONNECTIONS: '4', HEADGATE_MAX_CONNECTIONS_PER_ADDRESS: '3' };
  const GET = 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n';

  test('an idle one of the address that has most is closed for a new one', async () => {
    const answers: ServerResponse[] = [];
    const { gateway } = await setUpApi((_incoming, outgoing) => void answers.push(outgoing), FOUR);
    const busy = await connectFrom(gateway, '127.0.0.1');
    busy.write(GET);
    await until('it is busy', () => answers.length === 1);
    const older = await connectFrom(gateway, '127.0.0.1');
    await until('it is accepted', async () => (await openConnections(gateway)) === 2);
    older.write(GET);
    await until('it is busy', () => answers.length === 2);
    answers[1]?.end('ok');
    await older.until((text) => text.endsWith('ok'));
    const newer = await connectFrom(gateway, '127.0.0.1');
    await until('it is accepted', async () => (await openConnections(gateway)) === 3);
    await connectFrom(gateway, '127.0.0.2');
    await until('it is accepted', async () => (await openConnections(gateway)) === 4);

    const ordinary = await connectFrom(gateway, '127.0.0.3');
    expect(await older.end()).toBe('end');
    ordinary.write(GET);
    await until('it is served', () => answers.length === 3);
    expect(newer.ended).toBeUndefined();
    await connectFrom(gateway, '127.0.0.4');
    expect(await newer.end()).toBe('end');
    // Each address has one now, so none has more than its share.
    await (await connectFrom(gateway, '127.0.0.5')).end();
    for (const answer of answers) answer.end('ok');
    for (const raw of [busy, ordinary]) {
      expect(await raw.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 /);
    }
    const { text: metrics } = await ask(`${gateway.adminUrl}/metrics`);
    expect(metrics).toContain('headgate_connections_refused_total{bound="all"} 3');
  });

  test('a new one is closed if all those are busy', async () => {
    const answers: ServerResponse[] = [];
    const { gateway } = await setUpApi((_incoming, outgoing) => void answers.push(outgoing), {
      ...FOUR,
      HEADGATE_MAX_CONNECTIONS: '3',
    });
    for (let i = 1; i <= 3; i++) {
      (await connectFrom(gateway, '127.0.0.1')).write(GET);
      await until('it is busy', () => answers.length === i);
    }
    await (await connectFrom(gateway, '127.0.0.2')).end();
    expect(await openConnections(gateway)).toBe(3);
  });

  test('with TLS, handshakes that do not end make room', { tags: needs('openssl') }, async () => {
    const certificates = new Certificates();
    onTestFinished(() => certificates.remove());
    const { certPath, keyPath } = certificates.make('IP:127.0.0.1');
    const { gateway } = await setUpApi(ok, {
      ...FOUR,
      HEADGATE_TLS_CERT: certPath,
      HEADGATE_TLS_KEY: keyPath,
    });
    const flood: RawSocket[] = [];
    for (let i = 0; i < 3; i++) flood.push(await connectFrom(gateway, '127.0.0.3'));
    await connectFrom(gateway, '127.0.0.2');
    await until('all are accepted', async () => (await openConnections(gateway)) === 4);
    const raw = await openRaw(gateway.url, { rejectUnauthorized: false });
    raw.write(GET);
    expect(await raw.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 /);
    expect(await flood[0]?.end()).toMatch(/^(?:end|reset)$/);
  });
});

test('with TLS, connections count before their handshake', { tags: needs('openssl') }, async () => {
  const certificates = new Certificates();
  onTestFinished(() => certificates.remove());
  const { certPath, keyPath } = certificates.make('IP:127.0.0.1');
  const gateway = await start({
    ...LIMITS,
    HEADGATE_TLS_CERT: certPath,
    HEADGATE_TLS_KEY: keyPath,
  });
  for (let i = 0; i < 2; i++) await connectFrom(gateway, '127.0.0.1');
  await until('both are accepted', async () => (await openConnections(gateway)) === 2);
  await (await connectFrom(gateway, '127.0.0.1')).end();
  expect(await openConnections(gateway)).toBe(2);
});

test('by default, one address may have half of what the host allows', async () => {
  const gateway = await start({});
  const [line] = gateway.log.named('listening');
  const { maxConnections, maxConnectionsPerAddress } = line ?? {};
  expect(maxConnections).toBeGreaterThan(0);
  expect(maxConnections).toBeLessThanOrEqual(4000);
  expect(maxConnectionsPerAddress).toBe(Math.ceil(Number(maxConnections) / 2));
  expect((await ask(`${gateway.adminUrl}/health/live`)).status).toBe(200);
});
