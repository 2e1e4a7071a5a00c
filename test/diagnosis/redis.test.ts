// @module-tag needs-redis-server
// @module-tag needs-openssl
import { createServer } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisUrl } from '../../src/config/redis-url.ts';
import { diagnoseRedis } from '../../src/diagnosis/redis.ts';
import type { Finding } from '../../src/diagnosis/way.ts';
import { Certificates, type Certificate } from '../support/certificates.ts';
import { freePort, startRedis, type RedisServer } from '../support/redis-server.ts';
import { startCluster, startSentinels } from '../support/redis-topologies.ts';

let open: RedisServer;
let locked: RedisServer;
let replica: RedisServer;
let tlsPort: number;
let webUrl: string;
let certificate: Certificate;
const closers: (() => unknown)[] = [];

/** A port that was free a moment ago may be another process's by now. */
const NO_REDIS = 'redis://127.0.0.1:9';

beforeAll(async () => {
  const certificates = new Certificates();
  closers.push(() => certificates.remove());
  certificate = certificates.make('IP:127.0.0.1');
  [open, locked] = await Promise.all([startRedis(), startRedis()]);
  await locked.client.config('SET', 'requirepass', 'right');
  replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(open.port)] });
  tlsPort = await freePort();
  const { certPath, keyPath } = certificate;
  const files = `--tls-cert-file ${certPath} --tls-key-file ${keyPath} --tls-ca-cert-file ${certPath}`;
  const tls = `--tls-port ${tlsPort} --tls-auth-clients no ${files}`.split(' ');
  const secure = await startRedis({ args: tls });
  const web = createServer((_incoming, outgoing) => outgoing.end('hello'));
  await new Promise<void>((resolve) => void web.listen(0, '127.0.0.1', resolve));
  const address = web.address();
  webUrl = `redis://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  closers.push(() => web.close());
  for (const server of [open, locked, replica, secure]) closers.push(() => server.stop());
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

async function diagnose(
  url: string,
  { ca, stepTimeoutMs = 240_000 }: { ca?: string; stepTimeoutMs?: number } = {},
): Promise<{ usable: boolean; last: Finding }> {
  const address = redisUrl.parse(url);
  if (address === undefined) throw new Error(`not a URL of Redis: ${url}`);
  const findings: Finding[] = [];
  const target = { address, ca, cert: undefined, key: undefined, stepTimeoutMs };
  const usable = await diagnoseRedis(target, (finding) => findings.push(finding));
  const last = findings.at(-1);
  if (last === undefined) throw new Error('no finding');
  return { usable, last };
}

test('a Redis that can be used: every step is ok', async () => {
  const { usable, last } = await diagnose(`redis://:right@127.0.0.1:${locked.port}/3`);
  expect(usable).toBe(true);
  expect(last).toMatchObject({ kind: 'ok', step: 'role', at: `127.0.0.1:${locked.port}` });
  const secure = await diagnose(`rediss://127.0.0.1:${tlsPort}`, { ca: certificate.cert });
  expect(secure.usable).toBe(true);
});

test.each([
  ['a wrong password', () => `redis://:wrong@127.0.0.1:${locked.port}`, 'login', /^WRONGPASS/],
  ['a missing password', () => locked.url, 'login', /^NOAUTH/],
  ['another user', () => `redis://a:right@127.0.0.1:${locked.port}`, 'login', /^WRONGPASS/],
  ['a server with TLS', () => `redis://127.0.0.1:${tlsPort}`, 'protocol', /TLS/],
  ['a certificate', () => `rediss://127.0.0.1:${tlsPort}`, 'tls', /HEADGATE_REDIS_CA/],
  [
    'another server',
    () => webUrl,
    'protocol',
    /^expected the protocol of Redis, got: HTTP\/1\.1 400/,
  ],
  ['a database', () => `${open.url}/99`, 'database', /out of range/],
  ['no cluster', () => open.url.replace('redis:', 'redis+cluster:'), 'topology', /cluster support/],
  [
    'no Sentinel',
    () => `${open.url.replace('redis:', 'redis+sentinel:')}/main`,
    'topology',
    /unknown command/,
  ],
  ['a closed port', () => NO_REDIS, 'connect', /ECONNREFUSED/],
  ['a name', () => 'redis://redis.invalid:6379', 'dns', /redis\.invalid/],
  ['a replica', () => replica.url, 'role', /expected a primary, got a replica/],
])('%s: the step and the reason', async (_name, url, step, reason) => {
  const { usable, last } = await diagnose(url());
  expect(usable).toBe(false);
  expect(last).toMatchObject({ step, reason: expect.stringMatching(reason) });
});

test('a server without TLS, which waits for a command: the reason', async () => {
  const url = `rediss://127.0.0.1:${open.port}`;
  const { last } = await diagnose(url, { stepTimeoutMs: 5000 });
  expect(last).toMatchObject({ step: 'tls', reason: expect.stringContaining('may not speak TLS') });
});

test('a server that refuses differs from one that is away', async () => {
  const kindOf = async (url: string): Promise<string> => (await diagnose(url)).last.kind;
  expect(await kindOf(`redis://:wrong@127.0.0.1:${locked.port}`)).toBe('refused');
  expect(await kindOf(webUrl)).toBe('refused');
  expect(await kindOf(NO_REDIS)).toBe('unavailable');
  expect(await kindOf('redis://redis.invalid:6379')).toBe('unavailable');
  expect(await kindOf(replica.url)).toBe('unavailable');
});

test('Sentinels and a cluster are followed to a server', async ({ onTestFinished }) => {
  const sentinels = await startSentinels();
  onTestFinished(() => sentinels.stop());
  expect((await diagnose(sentinels.url)).last).toMatchObject({ kind: 'ok', step: 'role' });
  const unknown = await diagnose(sentinels.url.replace(/\/[^/]*$/, '/other'));
  expect(unknown.last).toMatchObject({ kind: 'refused', step: 'topology' });
  const cluster = await startCluster();
  onTestFinished(() => cluster.stop());
  expect((await diagnose(cluster.url)).last).toMatchObject({ kind: 'ok', step: 'topology' });
});
