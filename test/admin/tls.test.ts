// @module-tag needs-openssl
import { copyFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { Certificates, type Certificate } from '../support/certificates.ts';
import { changeFile } from '../support/changed-file.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { health } from '../support/health.ts';
import { openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

const TOKEN = 'operators-only-0123456789';
const certificates = new Certificates();
let first: Certificate;
let second: Certificate;
let certPath: string;
let keyPath: string;

beforeAll(() => {
  first = certificates.make('IP:127.0.0.1');
  second = certificates.make('IP:127.0.0.1');
});
beforeEach(() => {
  certPath = join(certificates.folder, 'live.crt');
  keyPath = join(certificates.folder, 'live.key');
  copyFileSync(first.certPath, certPath);
  copyFileSync(first.keyPath, keyPath);
});
afterAll(() => certificates.remove());

async function start(): Promise<TestGateway> {
  const gateway = await startGateway({
    settings: {
      HEADGATE_ADMIN_TOKEN: TOKEN,
      HEADGATE_ADMIN_TLS_CERT: certPath,
      HEADGATE_ADMIN_TLS_KEY: keyPath,
    },
  });
  onTestFinished(() => gateway.stop());
  return gateway;
}

interface TlsAnswer {
  readonly status: number;
  readonly text: string;
  readonly fingerprint: string;
}

/** Sends a request over TLS that trusts both certificates. */
function ask(url: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<TlsAnswer>((resolve, reject) => {
    const ca = first.cert + second.cert;
    const outgoing = request(url, { ca, agent: false, method, headers });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const { socket } = incoming;
      if (!(socket instanceof TLSSocket)) throw new Error('the connection is not TLS');
      const fingerprint = socket.getPeerCertificate().fingerprint256;
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text, fingerprint }));
    });
    outgoing.end();
  });
}

test('operators reach the admin listener over TLS, and nothing else does', async () => {
  const { url, adminUrl, log } = await start();
  expect(url).toMatch(/^http:/);
  expect(adminUrl).toMatch(/^https:/);
  expect(log.named('listening')).toMatchObject([{ adminUrl }]);
  const authorization = `Bearer ${TOKEN}`;
  expect((await ask(`${adminUrl}/buckets`, { authorization })).status).toBe(200);
  expect((await ask(`${adminUrl}/health/ready`)).status).toBe(200);
  const plain = await openRaw(adminUrl);
  plain.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await plain.end();
  expect(plain.received).not.toContain('live');
});

test('a change is made for the page that is served over TLS, and for no page in cleartext', async () => {
  const { adminUrl } = await start();
  const change = (origin: string): Promise<TlsAnswer> =>
    ask(`${adminUrl}/buckets/none/pause`, { authorization: `Bearer ${TOKEN}`, origin }, 'POST');
  expect((await change(adminUrl)).status).toBe(404);
  expect((await change(adminUrl.replace('https:', 'http:'))).status).toBe(403);
});

test('a new certificate is used, and an invalid one is not', async () => {
  const { adminUrl, log } = await start();
  const before = await ask(`${adminUrl}/health/live`);
  await changeFile(
    certPath,
    'nonsense',
    () => log.count('certificate unusable: keeping the last one') > 0,
  );
  expect((await ask(`${adminUrl}/health/live`)).fingerprint).toBe(before.fingerprint);
  copyFileSync(second.certPath, certPath);
  copyFileSync(second.keyPath, keyPath);
  await until('the admin listener presents the new certificate', async () => {
    const { fingerprint } = await ask(`${adminUrl}/health/live`);
    return fingerprint !== before.fingerprint;
  });
});

test('connections that are still in their handshake do not delay the end', async () => {
  const gateway = await start();
  const silent = await openRaw(gateway.adminUrl);
  await ask(`${gateway.adminUrl}/health/live`);
  await gateway.stop();
  expect(['end', 'reset']).toContain(await silent.end());
});

test('headgate health asks over TLS, whatever name the certificate has', async () => {
  const { adminUrl } = await start();
  const elsewhere = certificates.make('DNS:headgate.example');
  const { host } = new URL(adminUrl);
  const ended = await health({
    HEADGATE_ADMIN_LISTEN: host,
    HEADGATE_ADMIN_TLS_CERT: elsewhere.certPath,
    HEADGATE_ADMIN_TLS_KEY: elsewhere.keyPath,
  });
  expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^200 /), stderr: '' });
});

test('a certificate without a key, or with another certificate’s key, is refused at the start', async () => {
  const settings = { HEADGATE_ADMIN_TLS_CERT: first.certPath };
  await expect(startGateway({ settings })).rejects.toThrow(
    'HEADGATE_ADMIN_TLS_KEY: expected a file, because HEADGATE_ADMIN_TLS_CERT is set',
  );
  await expect(
    startGateway({ settings: { ...settings, HEADGATE_ADMIN_TLS_KEY: second.keyPath } }),
  ).rejects.toThrow(
    'HEADGATE_ADMIN_TLS_CERT: expected a certificate that matches HEADGATE_ADMIN_TLS_KEY',
  );
});
