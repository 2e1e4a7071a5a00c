// @module-tag needs-openssl
import { copyFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { connect } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority } from '../../src/certificates/authority.ts';
import { ok } from '../http/setup.ts';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { changeFile } from '../support/changed-file.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { loadSettings, settingsFor, startGateway } from '../support/gateway.ts';
import { Interceptions } from '../support/interception.ts';
import { connectThrough, requestText, sendConnect } from '../support/proxy-client.ts';
import { exchangeRaw, openRaw } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';

/** What interception opens, and what keeps it closed. */

let interceptions: Interceptions;
beforeAll(() => {
  interceptions = new Interceptions();
});
afterAll(() => interceptions.remove());

const setUp: Interceptions['setUp'] = (options) => interceptions.setUp(options);
const DAY_MS = 24 * 60 * 60_000;

describe('the settings', () => {
  function problems(settings: Record<string, string>, upstream = 'https://api.example'): string {
    const own = interceptions.settings('http://127.0.0.1:1');
    const loaded = loadSettings(settingsFor({ upstream, settings: { ...own, ...settings } }));
    return loaded.kind === 'bad' ? loaded.problems.join('\n') : '';
  }

  test('are refused without an authority, or with the key of another', () => {
    expect(problems({})).toBe('');
    const none = { HEADGATE_INTERCEPT_CA_CERT: '', HEADGATE_INTERCEPT_CA_KEY: '' };
    expect(problems(none)).toBe(
      'HEADGATE_INTERCEPT_CA_CERT: expected a file, because HEADGATE_INTERCEPT is set; got nothing. headgate ca init --hosts api.example makes one',
    );
    expect(problems({ HEADGATE_INTERCEPT_CA_KEY: '' })).toContain(
      'HEADGATE_INTERCEPT_CA_KEY: expected a file',
    );
    const other = interceptions.certificates.authority(['api.example']);
    expect(problems({ HEADGATE_INTERCEPT_CA_KEY: other.keyPath })).toContain(
      'HEADGATE_INTERCEPT_CA_CERT: expected a certificate that matches HEADGATE_INTERCEPT_CA_KEY',
    );
    expect(problems({ HEADGATE_INTERCEPT: '' })).toContain(
      'HEADGATE_INTERCEPT: expected at most 100',
    );
  });

  test('are refused for a host that is not that of an API, whose credentials would go elsewhere', () => {
    expect(problems({ HEADGATE_INTERCEPT: 'api.example,other.example' })).toBe(
      'HEADGATE_INTERCEPT: expected hosts of the URLs of APIs, got other.example; the APIs are at api.example',
    );
    expect(problems({}, 'http://api.example')).toBe(
      'HEADGATE_INTERCEPT: expected hosts of https URLs, got api.example, whose API would get the requests in cleartext',
    );
    expect(problems({ HEADGATE_INTERCEPT: '127.0.0.1' })).toContain('no addresses');
    expect(problems({}, 'https://api.example/:id/{x}')).toContain('whose path has letters');
  });

  test('are refused with the address of another listener, or of the proxy to the API', () => {
    const LISTEN = { HEADGATE_INTERCEPT_LISTEN: '127.0.0.1:8080' };
    expect(problems({ ...LISTEN, HEADGATE_LISTEN: '127.0.0.1:8080' })).toBe(
      'HEADGATE_INTERCEPT_LISTEN: expected another address than HEADGATE_LISTEN, got the same, 127.0.0.1:8080',
    );
    for (const proxy of ['http://127.0.0.1:8080', 'localhost:8080', 'http://[::1]:8080']) {
      expect(problems({ ...LISTEN, HTTPS_PROXY: proxy })).toContain(
        'because Headgate would call itself',
      );
    }
    expect(problems({ ...LISTEN, HTTPS_PROXY: 'http://127.0.0.1:3128' })).toBe('');
  });

  test('are refused where other machines could spend the token, or reach hosts through a tunnel', () => {
    const EVERYWHERE = { HEADGATE_INTERCEPT_LISTEN: '0.0.0.0:8082' };
    const keys = { HEADGATE_CALLER_KEYS: 'a=key-of-a-12345678' };
    expect(problems(EVERYWHERE)).toBe('');
    const token = { ...EVERYWHERE, HEADGATE_TOKEN: 't' };
    expect(problems(token)).toBe(
      "HEADGATE_TOKEN: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well, because other machines can connect to HEADGATE_INTERCEPT_LISTEN 0.0.0.0:8082 and would spend the token's budget; got neither",
    );
    expect(problems({ ...token, ...keys })).toBe('');
    const tunnel = { ...EVERYWHERE, HEADGATE_INTERCEPT_OTHERS: 'tunnel' };
    expect(problems(tunnel)).toMatch(/^HEADGATE_INTERCEPT_OTHERS: expected HEADGATE_CALLER_KEYS/);
    expect(problems({ ...tunnel, ...keys })).toBe('');
    expect(problems({ ...tunnel, HEADGATE_OPEN: 'true' })).toBe('');
    expect(problems({ HEADGATE_INTERCEPT_OTHERS: 'tunnel' })).toBe('');
  });
});

describe('the authority', () => {
  test.each([
    ['that has expired', ['api.example'], -6 * 365 * DAY_MS, 'got one that expired'],
    ['that is not valid yet', ['api.example'], 30 * DAY_MS, 'on$'],
    ['for other hosts', ['foreign.example'], 0, 'may issue for api.example, got one for foreign'],
  ])('%s ends the start', async (_what, hosts, ageMs, reason) => {
    const bad = interceptions.certificates.authority(hosts, { nowMs: Date.now() + ageMs });
    await expect(
      setUp({
        settings: {
          HEADGATE_INTERCEPT_CA_CERT: bad.certPath,
          HEADGATE_INTERCEPT_CA_KEY: bad.keyPath,
        },
      }),
    ).rejects.toThrow(new RegExp(`^HEADGATE_INTERCEPT_CA_CERT: expected .*${reason}`));
  });

  test('that is a certificate for a server ends the start', async () => {
    const server = interceptions.certificates.write(
      interceptions.certificates.serverOf(interceptions.authority, ['api.example']),
    );
    const settings = {
      HEADGATE_INTERCEPT_CA_CERT: server.certPath,
      HEADGATE_INTERCEPT_CA_KEY: server.keyPath,
    };
    await expect(setUp({ settings })).rejects.toThrow('expected the certificate of an authority');
  });

  test('is read again when its files change, and an unusable one is not used', async () => {
    const folder = interceptions.certificates.folder;
    const [certPath, keyPath] = [join(folder, 'live.crt'), join(folder, 'live.key')];
    copyFileSync(interceptions.authority.certPath, certPath);
    copyFileSync(interceptions.authority.keyPath, keyPath);
    const { gateway } = await setUp({
      settings: { HEADGATE_INTERCEPT_CA_CERT: certPath, HEADGATE_INTERCEPT_CA_KEY: keyPath },
    });
    await changeFile(
      certPath,
      'nonsense',
      () => gateway.log.count('certificate unusable: keeping the last one') > 0,
    );
    const { cert: ca } = interceptions.authority;
    await connectThrough(gateway.proxyUrl, { ca });
    const next = interceptions.certificates.write(createAuthority(['api.example'], Date.now()));
    copyFileSync(next.keyPath, keyPath);
    copyFileSync(next.certPath, certPath);
    await gateway.log.wait('certificate re-read', 1);
    await connectThrough(gateway.proxyUrl, { ca: next.cert });
    await expect(connectThrough(gateway.proxyUrl, { ca })).rejects.toThrow(/certificate|signature/);
  });

  test('issues certificates for a week, anew each day', async () => {
    // The client's clock is the host's, so the gateway's reaches it at the end.
    const clock = new FakeClock({ epochMs: Date.now() - DAY_MS });
    const older = { nowMs: Date.now() - 2 * DAY_MS };
    const own = interceptions.certificates.authority(['api.example'], older);
    const { cert: ca } = own;
    const { gateway } = await setUp({
      clock,
      settings: {
        HEADGATE_INTERCEPT_CA_CERT: own.certPath,
        HEADGATE_INTERCEPT_CA_KEY: own.keyPath,
      },
    });
    const seen = async (): Promise<{ serial: string; validMs: number }> => {
      const { tls } = await connectThrough(gateway.proxyUrl, { ca });
      const certificate = tls.getPeerX509Certificate();
      const validTo = certificate?.validToDate.getTime() ?? 0;
      return { serial: certificate?.serialNumber ?? '', validMs: validTo - clock.wallMs() };
    };
    const first = await seen();
    expect(first.validMs).toBeGreaterThan(7 * DAY_MS - 2000);
    expect(first.validMs).toBeLessThanOrEqual(7 * DAY_MS);
    expect((await seen()).serial).toBe(first.serial);
    clock.advance(DAY_MS);
    const next = await seen();
    expect(next.serial).not.toBe(first.serial);
    expect(next.validMs).toBeGreaterThan(7 * DAY_MS - 2000);
  });
});

describe('the bounds', () => {
  async function connections(adminUrl: string): Promise<number> {
    const { text } = await ask(`${adminUrl}/metrics`);
    return Number(/^headgate_connections (\d+)$/m.exec(text)?.[1]);
  }

  test('of connections hold for the proxy and the callers’ listener together', async () => {
    const { gateway } = await setUp({
      settings: { HEADGATE_MAX_CONNECTIONS: '4', HEADGATE_MAX_CONNECTIONS_PER_ADDRESS: '3' },
    });
    const { cert: ca } = interceptions.authority;
    const raw = await connectThrough(gateway.proxyUrl, { ca });
    await sendConnect(gateway.proxyUrl);
    await openRaw(gateway.url);
    await until('three are open', async () => (await connections(gateway.adminUrl)) === 3);
    await (await openRaw(gateway.proxyUrl)).end();
    await (await openRaw(gateway.url)).end();
    raw.write(requestText('/', 'api.example'));
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 /);
    await until('there is room again', async () => (await connections(gateway.adminUrl)) === 2);
  });

  test('let an idle connection of the proxy make room, and one with a call stay', async () => {
    let finish: (() => void) | undefined;
    const { gateway } = await setUp({
      answer: (_incoming, outgoing) => void (finish = () => outgoing.end('ok')),
      settings: { HEADGATE_MAX_CONNECTIONS: '3', HEADGATE_MAX_CONNECTIONS_PER_ADDRESS: '3' },
    });
    const { cert: ca } = interceptions.authority;
    const busy = await connectThrough(gateway.proxyUrl, { ca });
    busy.write(requestText('/', 'api.example'));
    await until('the API has the request', () => finish !== undefined);
    const idle = await connectThrough(gateway.proxyUrl, { ca });
    const handshake = await sendConnect(gateway.proxyUrl);
    const port = Number(new URL(gateway.url).port);
    for (const gone of [idle, handshake]) {
      const other = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' });
      onTestFinished(() => void other.destroy());
      await once(other, 'connect');
      await gone.end();
      other.destroy();
      await until('it has left', async () => (await connections(gateway.adminUrl)) < 3);
      if (gone === idle) await sendConnect(gateway.proxyUrl);
    }
    finish?.();
    await busy.end();
    expect(busy.received).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('of time: a handshake that does not end is cut off after a minute', async () => {
    const clock = new FakeClock({ epochMs: Date.now() });
    const { gateway } = await setUp({ clock });
    const raw = await sendConnect(gateway.proxyUrl);
    clock.advance(59_999);
    expect(raw.ended).toBeUndefined();
    clock.advance(1);
    await raw.end();
    await until('it is closed', async () => (await connections(gateway.adminUrl)) === 0);
  });

  test('of heads and of calls in one connection are those of any listener', async () => {
    const { api, gateway } = await setUp();
    const { cert: ca } = interceptions.authority;
    const large = await connectThrough(gateway.proxyUrl, { ca });
    large.write(requestText('/', 'api.example', [`X: ${'x'.repeat(70_000)}`]));
    await large.end();
    expect(large.received).toMatch(/^HTTP\/1\.1 431 /);
    const head = await openRaw(gateway.proxyUrl);
    head.write(`CONNECT api.example:443 HTTP/1.1\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`);
    await head.end();
    expect(head.received).toMatch(/^HTTP\/1\.1 431 /);
    expect(api.seen).toEqual([]);
  });

  test('a tunnel cannot reach this machine, whose listeners trust it', async () => {
    const { gateway } = await setUp({ settings: { HEADGATE_INTERCEPT_OTHERS: 'tunnel' } });
    const targets = [
      '127.0.0.1:443',
      'localhost:443',
      '[::1]:443',
      '[::ffff:127.0.0.1]:443',
      '169.254.169.254:443',
    ];
    for (const target of targets) {
      const raw = await sendConnect(gateway.proxyUrl, { target });
      await raw.end();
      expect([target, raw.received.slice(0, 13)]).toEqual([target, 'HTTP/1.1 403 ']);
    }
    const { port } = new URL(gateway.adminUrl);
    for (const target of [`127.0.0.1:${port}`, `far.example:${port}`, 'far.example:25']) {
      const raw = await sendConnect(gateway.proxyUrl, { target });
      await raw.end();
      expect([target, raw.received.slice(0, 13)]).toEqual([target, 'HTTP/1.1 403 ']);
    }
    expect(await gateway.log.wait('call', 8)).toMatchObject(
      Array.from({ length: 8 }, () => ({ code: 'forbidden-target' })),
    );
  });
});

describe('a token and a credential', () => {
  const NAMES = ['one', 'two', 'deep'] as const;
  const ORIGINS = {
    one: 'https://api.example',
    two: 'https://other.example',
    deep: 'https://api.example/v4',
  };

  test('never reach another API than that of the connection, whatever the request says', async () => {
    const start = async (): Promise<Api> => {
      const api = await startApi(ok, { tls: interceptions.ofApi });
      onTestFinished(() => api.close());
      return api;
    };
    const apis = { one: await start(), two: await start(), deep: await start() };
    const yaml = JSON.stringify({
      apis: Object.fromEntries(
        NAMES.map((name) => [
          name,
          {
            preset: 'none',
            upstreamUrl: ORIGINS[name],
            upstreamAddress: new URL(apis[name].url).host,
            upstreamCa: interceptions.ofApi.certPath,
            token: `token-of-${name}`,
            // The match of callers must not matter here.
            match: name === 'two' ? { host: 'api.example' } : { path: `/${name}/**` },
          },
        ]),
      ),
    });
    const { HEADGATE_INTERCEPT_CA_CERT = '', HEADGATE_INTERCEPT_CA_KEY = '' } =
      interceptions.settings('http://127.0.0.1:1');
    const gateway = await startGateway({
      settings: {
        HEADGATE_UPSTREAM_URL: '',
        HEADGATE_INTERCEPT: 'api.example,other.example',
        HEADGATE_INTERCEPT_LISTEN: '127.0.0.1:0',
        HEADGATE_INTERCEPT_CA_CERT,
        HEADGATE_INTERCEPT_CA_KEY,
      },
      files: { 'headgate.yaml': yaml },
    });
    onTestFinished(() => gateway.stop());
    const host: fc.Arbitrary<string> = fc.constantFrom(
      'api.example',
      'other.example',
      'evil.example',
      'gateway',
      'API.EXAMPLE:443',
      'other.example.',
    );
    const path: fc.Arbitrary<string> = fc.constantFrom(
      '/',
      '/v4',
      '/v4/a',
      '/v4/../a',
      '/%764/a',
      '/one/a',
      '/two/a',
      '//other.example/a',
      '/v4x',
    );
    const shape = fc.record({
      connectTo: fc.constantFrom<(string | undefined)[]>('api.example', 'other.example', undefined),
      host,
      path,
      absolute: fc.option(host, { nil: undefined }),
      forwarded: fc.option(host, { nil: undefined }),
    });
    const { cert: ca } = interceptions.authority;
    /** One request that each API receives, whatever the random ones are. */
    const reaching = NAMES.map((name) => {
      const { hostname, pathname } = new URL(ORIGINS[name]);
      const connectTo = hostname;
      return {
        connectTo,
        host: hostname,
        path: pathname,
        absolute: undefined,
        forwarded: undefined,
      };
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ connectTo, host, path, absolute, forwarded }) => {
        const before = NAMES.map((name) => apis[name].seen.length);
        const target = absolute === undefined ? path : `http://${absolute}${path}`;
        const lines =
          forwarded === undefined
            ? []
            : [`X-Forwarded-Host: ${forwarded}`, `Forwarded: host=${forwarded}`];
        const text = requestText(target, host, lines);
        if (connectTo === undefined) await exchangeRaw(gateway.proxyUrl, text);
        else {
          const raw = await connectThrough(gateway.proxyUrl, {
            ca,
            target: `${connectTo}:443`,
          });
          raw.write(text);
          await raw.end();
        }
        const meant = connectTo ?? absolute?.toLowerCase().replace(/\.?(?::\d+)?$/, '');
        for (const [at, name] of NAMES.entries()) {
          for (const request of apis[name].seen.slice(before[at])) {
            expect(request.headers.authorization).toBe(`token token-of-${name}`);
            expect(request.servername).toBe(new URL(ORIGINS[name]).hostname);
            expect(request.servername).toBe(meant);
            expect(name !== 'deep' || /^\/(?:v4|%764)(?:\/|$)/.test(request.url)).toBe(true);
          }
        }
      }),
      { numRuns: 150, examples: reaching.map((one): [typeof one] => [one]) },
    );
    for (const name of NAMES) expect([name, apis[name].seen.length > 0]).toEqual([name, true]);
  });
});
