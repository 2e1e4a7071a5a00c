// @module-tag needs-redis-server
// @module-tag needs-openssl
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Certificates } from '../support/certificates.ts';
import { read, section } from '../docs/markdown.ts';
import { ask } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGateway } from '../support/gateway.ts';
import { patientClock } from '../support/patient-clock.ts';
import {
  load,
  startFleet,
  statuses,
  untilShared,
  watchDepartures,
  type Fleet,
} from '../support/redis-fleet.ts';
import { freePort, startRedis } from '../support/redis-server.ts';

/** The access rules for the gateway's user in docs/redis.md, and no others. */
function documentedRules(): string[] {
  const [, rules = ''] =
    /```text\n([\s\S]*?)```/.exec(section(read('docs/redis.md'), '## Access')) ?? [];
  return rules.trim().split(/\s+/);
}

/** What the first replica of a fleet says about its readiness. */
async function readiness({ replicas: [replica] }: Fleet): Promise<unknown> {
  const { status: code, text } = await ask(`${replica?.adminUrl}/health/ready`);
  const { status, ledger }: Record<string, unknown> = JSON.parse(text);
  return { code, status, ledger };
}

test.concurrent('TLS with a private certificate and a user with the documented access rules suffice', async ({
  onTestFinished,
}) => {
  const certificates = new Certificates();
  onTestFinished(() => certificates.remove());
  const server = certificates.make('IP:127.0.0.1');
  const client = certificates.make('DNS:headgate');
  const tlsPort = await freePort();
  const redis = await startRedis({
    args: [
      `--tls-port ${tlsPort}`,
      `--tls-cert-file ${server.certPath}`,
      `--tls-key-file ${server.keyPath}`,
      `--tls-ca-cert-file ${client.certPath}`,
    ].flatMap((argument) => argument.split(' ')),
  });
  onTestFinished(() => redis.stop());
  await redis.client.call('ACL', 'SETUSER', 'headgate', 'on', '>let-me-in', ...documentedRules());
  const authFile = join(certificates.folder, 'auth');
  writeFileSync(authFile, 'headgate:let-me-in\n');
  const fleet = await startFleet({
    redisUrl: `rediss://127.0.0.1:${tlsPort}`,
    replicas: 2,
    timeout: '1m',
    settings: {
      HEADGATE_REDIS_CA: server.certPath,
      HEADGATE_REDIS_CERT: client.certPath,
      HEADGATE_REDIS_KEY: client.keyPath,
      HEADGATE_REDIS_AUTH_FILE: authFile,
    },
  });
  onTestFinished(() => fleet.close());
  await untilShared(fleet);
  const departures = watchDepartures(fleet);
  expect(statuses(await load(fleet, { calls: 80, pressure: 4 }))).toEqual({ 200: 80 });
  expect(departures()).toBe(0);
  const denied = await redis.client.call('ACL', 'LOG');
  expect(denied).toEqual([]);
  expect(await redis.client.keys('headgate:*:state')).toHaveLength(1);
});

test.concurrent('the documented access rules suffice for a token that the replicas share', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const azion = await startAzion();
  onTestFinished(() => azion.close());
  await redis.client.call('ACL', 'SETUSER', 'headgate', 'on', '>let-me-in', ...documentedRules());
  for (let n = 0; n < 2; n++) {
    const gateway = await startGateway({
      upstream: azion.url,
      clock: patientClock,
      settings: {
        HEADGATE_TOKEN_BASIC: 'ops:password',
        HEADGATE_REDIS_TIMEOUT: '1m',
        HEADGATE_REDIS_URL: redis.url.replace('redis://', 'redis://headgate:let-me-in@'),
      },
    });
    onTestFinished(() => gateway.stop());
    expect(gateway.log.count('token not shared')).toBe(0);
  }
  expect(azion.seen.filter(({ url }) => url === '/tokens')).toHaveLength(1);
  expect(await redis.client.call('ACL', 'LOG')).toEqual([]);
});

test.concurrent('a password of its own setting suffices, and without it a gateway works alone', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  // Its own connection stays logged in.
  await redis.client.config('SET', 'requirepass', 'p@ss:wörd/%');
  const fleet = await startFleet({
    redisUrl: redis.url,
    replicas: 2,
    timeout: '1m',
    settings: { HEADGATE_REDIS_PASSWORD: 'p@ss:wörd/%' },
  });
  onTestFinished(() => fleet.close());
  await untilShared(fleet);
  const departures = watchDepartures(fleet);
  expect(statuses(await load(fleet, { calls: 20, pressure: 4 }))).toEqual({ 200: 20 });
  expect(departures()).toBe(0);
  expect(await redis.client.keys('headgate:*:state')).toHaveLength(1);

  for (const [password, reason] of [
    [undefined, /^NOAUTH /],
    ['wrong', /^WRONGPASS /],
  ] as const) {
    const stranger = await startFleet({
      redisUrl: redis.url,
      replicas: 1,
      timeout: '1m',
      settings: password === undefined ? {} : { HEADGATE_REDIS_PASSWORD: password },
    });
    onTestFinished(() => stranger.close());
    expect(statuses(await load(stranger, { calls: 5 }))).toEqual({ 200: 5 });
    const log = stranger.replicas[0]?.log;
    const [alone] = (await log?.wait('ledger', 1)) ?? [];
    expect(alone).toMatchObject({ ledger: 'local', level: 'warn' });
    const [unusable] = (await log?.wait('redis unusable', 1)) ?? [];
    expect(unusable).toMatchObject({
      level: 'warn',
      at: `127.0.0.1:${redis.port}`,
      step: 'login',
      reason: expect.stringMatching(reason),
    });
    expect(await readiness(stranger)).toMatchObject({ code: 503, status: 'misconfigured' });
    expect(log?.named('redis unusable')).toHaveLength(1);
  }
});

test.concurrent('a replica that Redis refused is ready once Redis accepts it, and stays ready', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  await redis.client.config('SET', 'requirepass', 'old');
  const settings = { HEADGATE_REDIS_PASSWORD: 'new' };
  const fleet = await startFleet({ redisUrl: redis.url, replicas: 1, timeout: '1m', settings });
  onTestFinished(() => fleet.close());
  expect(await readiness(fleet)).toMatchObject({ code: 503, ledger: 'local' });
  await redis.client.config('SET', 'requirepass', 'new');
  await fleet.replicas[0]?.log.wait('ledger', 2);
  expect(await readiness(fleet)).toEqual({ code: 200, status: 'ready', ledger: 'redis' });
  // The password of a running Redis changes: the replica has reached it, and serves alone.
  await redis.client.config('SET', 'requirepass', 'newer');
  await redis.client.call('CLIENT', 'KILL', 'SKIPME', 'yes');
  await fleet.replicas[0]?.log.wait('redis unusable', 2);
  expect(await readiness(fleet)).toEqual({ code: 200, status: 'ready', ledger: 'local' });
});

test.concurrent('replicas with the same secret give a credential one name, and store no secret', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const settings = { HEADGATE_SECRET: 'sixteen-characters' };
  const fleet = await startFleet({ redisUrl: redis.url, replicas: 2, timeout: '1m', settings });
  onTestFinished(() => fleet.close());
  await untilShared(fleet);
  await load(fleet, { calls: 4 });
  expect(await redis.client.keys('*:state')).toHaveLength(1);
  expect(await redis.client.exists('headgate:{replicas}:key')).toBe(0);
});

test.concurrent('a gateway starts without Redis, works alone, and joins Redis once it runs', async ({
  onTestFinished,
}) => {
  const port = await freePort();
  const fleet = await startFleet({ redisUrl: `redis://127.0.0.1:${port}`, replicas: 1 });
  onTestFinished(() => fleet.close());
  const [replica] = fleet.replicas;
  expect(await readiness(fleet)).toEqual({ code: 200, status: 'ready', ledger: 'local' });
  expect(replica?.log.named('redis unusable')[0]).toMatchObject({ step: 'connect' });
  expect(statuses(await load(fleet, { calls: 5 }))).toEqual({ 200: 5 });
  const redis = await startRedis({ port });
  onTestFinished(() => redis.stop());
  // A busy machine may lose Redis again after that.
  const lines = (await replica?.log.wait('ledger', 2))?.slice(0, 2);
  expect(lines?.map(({ level, ledger }) => [level, ledger])).toEqual([
    ['warn', 'local'],
    ['info', 'redis'],
  ]);
  expect(statuses(await load(fleet, { calls: 5 }))).toEqual({ 200: 5 });
});
