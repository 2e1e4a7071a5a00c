import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Certificates } from '../support/certificates.ts';
import { headgate } from '../support/spawned.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import { createServer as createTlsServer } from 'node:https';
import { needs } from '../support/tools.ts';

/** A name whose first part is too long, so that no name server is asked, which may answer late. */
const NOWHERE = `redis-${'x'.repeat(60)}.invalid`;

/** An API that answers each request with 401; resolves to its URL, and records the requests. */
async function startApi(seen: string[] = []): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    seen.push(`${incoming.method} ${incoming.url} ${incoming.headers.authorization}`);
    outgoing.writeHead(401).end();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

function probe(
  env: Readonly<Record<string, string>>,
): ReturnType<ReturnType<typeof headgate>['ended']> {
  return headgate(['check-config', '--probe'], { env }).ended();
}

test('the ways to the API and to Redis are tried, a line for each step, without the token', async () => {
  const seen: string[] = [];
  const url = await startApi(seen);
  const { code, stdout } = await probe({
    HEADGATE_UPSTREAM_URL: `${url}/v3`,
    HEADGATE_TOKEN: 'never-sent',
    HEADGATE_REDIS_URL: `redis://${NOWHERE}`,
  });
  expect(code).toBe(1);
  const place = new URL(url).host;
  expect(stdout).toMatch(new RegExp(`^API +${place} +connect +ok$`, 'm'));
  expect(stdout).toMatch(
    new RegExp(`^API +${place} +answer +ok +HTTP 401; any status shows that the API answers$`, 'm'),
  );
  expect(stdout).toMatch(new RegExp(`^Redis +${NOWHERE}:6379 +dns +FAILED +.+${NOWHERE}$`, 'm'));
  expect(seen).toEqual(['HEAD /v3/ undefined']);
});

test('without Redis, an API that answers suffices for 0', async () => {
  const { code, stdout } = await probe({ HEADGATE_UPSTREAM_URL: await startApi() });
  expect(stdout).toContain('Redis  not set: this gateway shares its budgets with no other\n');
  expect(code).toBe(0);
});

test('an API that refuses connections is 1, and wrong settings are 2', async () => {
  const refused = await probe({ HEADGATE_UPSTREAM_URL: 'http://127.0.0.1:9' });
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/^API +127\.0\.0\.1:9 +connect +FAILED +.*ECONNREFUSED/m);
  expect((await probe({ HEADGATE_UPSTREAM_URL: 'nowhere' })).code).toBe(2);
});

test(
  'a certificate that is not trusted names the setting, and is accepted with it',
  { tags: needs('openssl') },
  async () => {
    const certificates = new Certificates();
    onTestFinished(() => certificates.remove());
    const { cert, key, certPath } = certificates.make('DNS:localhost');
    const server = createTlsServer({ cert, key }, (_incoming, outgoing) => outgoing.end());
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : '';
    const env = { HEADGATE_UPSTREAM_URL: `https://localhost:${port}` };
    const untrusted = await probe(env);
    expect(untrusted.code).toBe(1);
    expect(untrusted.stdout).toMatch(/ tls +FAILED +.*HEADGATE_UPSTREAM_CA/);
    const trusted = await probe({ ...env, HEADGATE_UPSTREAM_CA: certPath });
    expect(trusted.stdout).toMatch(/ tls +ok +TLSv1\.3$/m);
    expect(trusted.code).toBe(0);
  },
);

test('a proxy is on the way', async () => {
  const url = await startApi();
  const proxy = await startForwardProxy({ to: url });
  onTestFinished(() => proxy.close());
  const { code, stdout } = await probe({ HEADGATE_UPSTREAM_URL: url, HTTP_PROXY: proxy.url });
  expect(stdout).toMatch(
    new RegExp(
      `^API +${new URL(proxy.url).host} +answer +ok +HTTP 401; any status shows that the API answers$`,
      'm',
    ),
  );
  expect(code).toBe(0);
});

test('of several APIs, the way to each is tried, and the one to Redis once', async () => {
  const seen: string[] = [];
  const url = await startApi(seen);
  const folder = mkdtempSync(join(tmpdir(), 'headgate-probe-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'headgate.yaml');
  writeFileSync(
    file,
    `apis: {one: {upstreamUrl: "${url}/a", match: {path: /one/**}}, two: {upstreamUrl: "${url}/b"}}`,
  );
  const env = { HEADGATE_CONFIG: file, HEADGATE_REDIS_URL: `redis://${NOWHERE}` };
  const { code, stdout } = await probe(env);
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /^one +\S+ +answer +ok +HTTP 401; any status shows that the API answers$/m,
  );
  expect(stdout).toMatch(
    /^two +\S+ +answer +ok +HTTP 401; any status shows that the API answers$/m,
  );
  expect(stdout.match(/^Redis .* FAILED/gm)).toHaveLength(1);
  expect(seen).toEqual(['HEAD /a/ undefined', 'HEAD /b/ undefined']);
});
