// @module-tag needs-openssl
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerResponse } from 'node:http';
import { request } from 'node:https';
import { connect } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Certificates, type Certificate } from '../support/certificates.ts';
import { changeFile } from '../support/changed-file.ts';
import { openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpGateway, ok, setUpApi, untilWaiting } from './setup.ts';

const certificates = new Certificates();
let first: Certificate;
let second: Certificate;
beforeAll(() => {
  first = certificates.make('DNS:api.example', 'IP:127.0.0.1');
  second = certificates.make('DNS:api.example', 'IP:127.0.0.1');
});
afterAll(() => certificates.remove());

interface TlsAnswer {
  readonly status: number;
  readonly location: string | undefined;
  readonly fingerprint: string;
}

function askTls(url: string, ca: string, host: string): Promise<TlsAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { ca, agent: false, servername: host, headers: { host } });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const { socket } = incoming;
      if (!(socket instanceof TLSSocket)) throw new Error('the connection is not TLS');
      const fingerprint = socket.getPeerCertificate().fingerprint256;
      incoming.resume().on('end', () => {
        resolve({
          status: incoming.statusCode ?? 0,
          location: incoming.headers.location,
          fingerprint,
        });
      });
    });
    outgoing.end();
  });
}

test('callers with a fixed https URL are served under its name', async () => {
  const { gateway } = await setUpApi(
    (incoming, outgoing) => {
      outgoing.setHeader('location', `http://${incoming.headers.host}/b`);
      ok(incoming, outgoing);
    },
    {
      HEADGATE_TLS_CERT: first.certPath,
      HEADGATE_TLS_KEY: first.keyPath,
      HEADGATE_HOSTS: 'api.example',
    },
  );
  expect(gateway.url).toMatch(/^https:/);
  const answer = await askTls(gateway.url, first.cert, 'api.example');
  expect(answer).toMatchObject({ status: 200, location: 'https://api.example/b' });
});

test('bytes over TLS that are not a request are refused with a problem and logged once', async () => {
  const { gateway } = await setUpApi(ok, {
    HEADGATE_TLS_CERT: first.certPath,
    HEADGATE_TLS_KEY: first.keyPath,
  });
  const raw = await openRaw(gateway.url, { ca: first.cert });
  raw.write('nonsense\r\n\r\n');
  await raw.end();
  expect(raw.received).toMatch(/^HTTP\/1\.1 400 /);
  expect(await gateway.log.wait('call', 1)).toMatchObject([{ code: 'bad-request' }]);
});

test('a new certificate is used, and an invalid one is not', async () => {
  const certPath = join(certificates.folder, 'live.crt');
  const keyPath = join(certificates.folder, 'live.key');
  copyFileSync(first.certPath, certPath);
  copyFileSync(first.keyPath, keyPath);
  const { gateway } = await setUpApi(ok, {
    HEADGATE_TLS_CERT: certPath,
    HEADGATE_TLS_KEY: keyPath,
  });
  const ca = first.cert + second.cert;
  const before = await askTls(gateway.url, ca, 'api.example');

  await changeFile(
    certPath,
    'nonsense',
    () => gateway.log.count('certificate unusable: keeping the last one') > 0,
  );
  expect((await askTls(gateway.url, ca, 'api.example')).fingerprint).toBe(before.fingerprint);

  copyFileSync(second.certPath, certPath);
  copyFileSync(second.keyPath, keyPath);
  await until('the gateway presents the new certificate', async () => {
    const { fingerprint } = await askTls(gateway.url, ca, 'api.example');
    return fingerprint !== before.fingerprint;
  });
});

test('a certificate without a key, or with another certificate’s key, is refused at the start', async () => {
  await expect(
    setUpGateway('http://127.0.0.1:1', { HEADGATE_TLS_CERT: first.certPath }),
  ).rejects.toThrow('HEADGATE_TLS_KEY: expected a file, because HEADGATE_TLS_CERT is set');
  await expect(
    setUpGateway('http://127.0.0.1:1', {
      HEADGATE_TLS_CERT: first.certPath,
      HEADGATE_TLS_KEY: second.keyPath,
    }),
  ).rejects.toThrow('HEADGATE_TLS_CERT: expected a certificate that matches HEADGATE_TLS_KEY');
});

test('a body that is streamed arrives whole', async () => {
  const { gateway } = await setUpApi(
    (incoming, outgoing) => {
      let bytes = 0;
      incoming.on('data', (part: Buffer) => (bytes += part.length));
      incoming.on('end', () => outgoing.end(String(bytes)));
    },
    { HEADGATE_TLS_CERT: first.certPath, HEADGATE_TLS_KEY: first.keyPath },
  );
  const size = 3_000_000;
  const { text } = await upload(gateway.url, Buffer.alloc(size));
  expect(text).toBe(String(size));
});

test('a caller that resets its connection while its upload waits is noticed', async () => {
  let held: ServerResponse | undefined;
  const { gateway } = await setUpApi((_incoming, outgoing) => void (held = outgoing), {
    HEADGATE_TLS_CERT: first.certPath,
    HEADGATE_TLS_KEY: first.keyPath,
    HEADGATE_UPSTREAM_CONNECTIONS: '1',
    HEADGATE_MAX_WAIT: '1m',
  });
  const holds = await openRaw(gateway.url, { ca: first.cert });
  holds.write('GET /held HTTP/1.1\r\nHost: a\r\n\r\n');
  await until('the API has the first request', () => held !== undefined);
  const below = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  const waits = await openRaw(gateway.url, { ca: first.cert, socket: below });
  waits.write('POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n');
  waits.write(Buffer.alloc(4_000_000));
  await untilWaiting(gateway, 1);
  below.resetAndDestroy();
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ path: '/a', outcome: 'aborted', attempts: 0, waiting: 0 });
  holds.socket.destroy();
});

/** Sends a body of known length, and resolves to the answer. */
function upload(url: string, body: Buffer): Promise<{ text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      ca: first.cert,
      agent: false,
      headers: { 'content-length': body.length },
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      let text = '';
      incoming.on('data', (part: Buffer) => (text += String(part)));
      incoming.on('end', () => resolve({ text }));
    });
    outgoing.end(body);
  });
}
