import { describe, expect, onTestFinished, test } from 'vitest';
import { forwardedClients } from '../../src/http/caller-origin.ts';
import { ok, setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { Certificates } from '../support/certificates.ts';
import type { TestGateway } from '../support/gateway.ts';
import { openRaw } from '../support/raw-socket.ts';
import { needs } from '../support/tools.ts';

const TRUSTED = { HEADGATE_TRUSTED_PROXIES: '127.0.0.2, 10.0.0.0/8, fd00::/8' };
const PROXY = '127.0.0.2';

/** The caller in the latest call's log line. */
function callerIn(gateway: TestGateway): unknown {
  return gateway.log.named('call').at(-1)?.['caller'];
}

async function callerOf(
  gateway: TestGateway,
  headers: Record<string, string>,
  from = PROXY,
): Promise<unknown> {
  const before = gateway.log.named('call').length;
  await ask(`${gateway.url}/a`, { headers, from });
  await gateway.log.wait('call', before + 1);
  return callerIn(gateway);
}

describe('the address of a caller behind a trusted proxy', () => {
  test.each([
    [{ 'x-forwarded-for': '192.0.2.7' }, '192.0.2.7'],
    [{ 'x-forwarded-for': '198.51.100.1, 192.0.2.7, 10.1.1.1' }, '192.0.2.7'],
    [{ 'x-forwarded-for': '192.0.2.7:4711' }, '192.0.2.7'],
    [{ 'x-forwarded-for': '[2001:DB8::7]:4711' }, '2001:db8::7'],
    [{ 'x-forwarded-for': '10.1.1.2, 10.1.1.1' }, '10.1.1.2'],
    [{ 'x-forwarded-for': '192.0.2.7, unknown' }, PROXY],
    [{ 'x-forwarded-for': '192.0.2.7, 10.1.1.1.evil' }, PROXY],
    [{ forwarded: 'for=192.0.2.7;proto=https' }, '192.0.2.7'],
    [{ forwarded: 'for=198.51.100.1, For="[2001:db8::7]:1";by=x, for=10.1.1.1' }, '2001:db8::7'],
    [{ forwarded: 'for=_hidden' }, PROXY],
    [{ forwarded: 'for=192.0.2.7;;' }, PROXY],
    [{ 'x-forwarded-for': '192.0.2.7', forwarded: 'for=192.0.2.8' }, '192.0.2.7'],
    [{}, PROXY],
  ])('that sends %j is %s', async (headers, address) => {
    const { gateway } = await setUpApi(ok, TRUSTED);
    expect(await callerOf(gateway, headers)).toBe(address);
  });

  test('is not what another caller sends', async () => {
    const { gateway } = await setUpApi(ok, TRUSTED);
    const headers = { 'x-forwarded-for': '192.0.2.7', forwarded: 'for=192.0.2.7' };
    expect(await callerOf(gateway, headers, '127.0.0.1')).toBe('127.0.0.1');
    const { gateway: other } = await setUpApi(ok);
    expect(await callerOf(other, headers)).toBe(PROXY);
  });

  test('is read element by element', () => {
    expect(forwardedClients({ forwarded: 'proto=http, for="a,b", for=1.2.3.4' })).toEqual([
      undefined,
      undefined,
      '1.2.3.4',
    ]);
    expect(forwardedClients({ 'x-forwarded-for': ['1.2.3.4', '999.1.1.1'] })).toEqual([
      '1.2.3.4',
      undefined,
    ]);
  });
});

const V2 = '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\x0a\0\0\x01\x12\x34\x01\xbb';
const GET =
  'GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.1\r\nConnection: close\r\n\r\n';

describe('the PROXY protocol', () => {
  const TRUSTING_LOOPBACK = { HEADGATE_TRUSTED_PROXIES: '127.0.0.1' };

  test.each([
    ['version 1', 'PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n', '192.0.2.9'],
    ['version 2', V2, '192.0.2.9'],
    ['a local connection', '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0', '203.0.113.1'],
    ['no header', '', '203.0.113.1'],
  ])('in %s names the caller', async (_name, header, caller) => {
    const { gateway } = await setUpApi(ok, TRUSTING_LOOPBACK);
    for (const pieces of [[header + GET], (header + GET).slice(0, 40).split('')]) {
      const raw = await openRaw(gateway.url);
      for (const piece of pieces) {
        raw.write(piece);
        await new Promise((resolve) => void setImmediate(resolve));
      }
      if (pieces.length > 1) raw.write((header + GET).slice(40));
      expect(await raw.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 /);
      await raw.end();
    }
    const lines = await gateway.log.wait('call', 2);
    expect(lines.map((line) => line['caller'])).toEqual([caller, caller]);
  });

  test('serves several requests of a connection', async () => {
    const { gateway } = await setUpApi(ok, TRUSTING_LOOPBACK);
    const raw = await openRaw(gateway.url);
    const keep = GET.replace('Connection: close\r\n', '');
    raw.write(V2 + keep);
    await raw.until((text) => text.endsWith('ok'));
    raw.write(keep + GET);
    await raw.end();
    const lines = await gateway.log.wait('call', 3);
    expect(lines.map((line) => line['caller'])).toEqual(Array(3).fill('192.0.2.9'));
  });

  test('leaves no line if its connection is reset before a request, as without it', async () => {
    const { gateway } = await setUpApi(ok, TRUSTING_LOOPBACK);
    for (const header of ['PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n', V2, '']) {
      // Together, so that some are reset before the gateway accepts them.
      const reset = async (): Promise<void> => {
        const { socket } = await openRaw(gateway.url);
        socket.write(Buffer.from(header, 'latin1'));
        socket.resetAndDestroy();
      };
      await Promise.all(Array.from({ length: 10 }, reset));
    }
    const raw = await openRaw(gateway.url);
    raw.write(V2 + GET);
    await raw.end();
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ path: '/a' }]);
  });

  test('changes nothing for a connection that ends within a request', async () => {
    const { gateway } = await setUpApi(ok, TRUSTING_LOOPBACK);
    for (const header of ['', V2]) {
      const raw = await openRaw(gateway.url);
      raw.write(`${header}GET /a HT`);
      raw.socket.end();
      await raw.end();
      expect(raw.received).toMatch(/^HTTP\/1\.1 400 /);
    }
    const lines = await gateway.log.wait('call', 2);
    expect(lines.map((line) => line['parserError'])).toEqual(
      Array(2).fill('HPE_INVALID_EOF_STATE'),
    );
  });

  test('comes before TLS', { tags: needs('openssl') }, async () => {
    const certificates = new Certificates();
    onTestFinished(() => certificates.remove());
    const { certPath, keyPath } = certificates.make('IP:127.0.0.1');
    const { gateway } = await setUpApi(ok, {
      ...TRUSTING_LOOPBACK,
      HEADGATE_TLS_CERT: certPath,
      HEADGATE_TLS_KEY: keyPath,
    });
    const plain = await openRaw(gateway.url);
    plain.socket.removeAllListeners('data');
    plain.write(V2);
    const raw = await openRaw(gateway.url, {
      socket: plain.socket,
      rejectUnauthorized: false,
    });
    raw.write(GET);
    expect(await raw.until((text) => text.endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 /);
    raw.socket.destroy();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ caller: '192.0.2.9' });
  });

  test('is refused from every other address', async () => {
    const { gateway, api } = await setUpApi(ok, { HEADGATE_TRUSTED_PROXIES: '127.0.0.2' });
    const raw = await openRaw(gateway.url);
    raw.write(`PROXY TCP4 192.0.2.9 10.0.0.1 4660 443\r\n${GET}`);
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 400 /);
    expect(api.seen).toEqual([]);
  });

  test('that is wrong closes the connection and is logged', async () => {
    const { gateway } = await setUpApi(ok, TRUSTING_LOOPBACK);
    const raw = await openRaw(gateway.url);
    raw.write(`PROXY TCP4 nowhere\r\n${GET}`);
    await raw.end();
    expect(raw.received).toBe('');
    expect(await gateway.log.wait('bad PROXY protocol header', 1)).toMatchObject([
      { level: 'warn', remoteAddress: '127.0.0.1', reason: expect.stringContaining('line') },
    ]);
  });
});
