// @module-tag needs-openssl
import dns from 'node:dns';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { proxyFor } from '../../src/http/proxy.ts';
import { startApi, type Api, type ApiOptions } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { Certificates, type Certificate } from '../support/certificates.ts';
import { startForwardProxy, type ForwardProxy } from '../support/forward-proxy.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { setUpGateway, ok } from './setup.ts';

const certificates = new Certificates();
let certificate: Certificate;
let overTls: ApiOptions;
beforeAll(() => {
  certificate = certificates.make('DNS:api.example');
  overTls = { tls: certificate };
});
afterAll(() => certificates.remove());

const CREDENTIALS = `Basic ${Buffer.from('user:p w').toString('base64')}`;

async function apiWith(options: ApiOptions = {}): Promise<Api & { address: string }> {
  const api = await startApi(ok, options);
  onTestFinished(() => api.close());
  return Object.assign(api, { address: new URL(api.url).host });
}

async function proxyTo(api: Api, authorization?: string): Promise<ForwardProxy> {
  const proxy = await startForwardProxy({
    to: api.url,
    ...(authorization === undefined ? {} : { authorization }),
  });
  onTestFinished(() => proxy.close());
  return proxy;
}

describe('HEADGATE_UPSTREAM_ADDRESS', () => {
  test('is where the gateway connects, while Host, SNI and the certificate stay the API’s', async () => {
    const api = await apiWith(overTls);
    const gateway = await setUpGateway('https://api.example', {
      HEADGATE_UPSTREAM_ADDRESS: api.address,
      HEADGATE_UPSTREAM_CA: certificate.certPath,
    });
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200, text: 'ok' });
    expect(api.seen).toMatchObject([
      { servername: 'api.example', headers: { host: 'api.example' } },
    ]);
  });

  test('uses the port of the URL if it has none', async () => {
    const api = await apiWith();
    const { port } = new URL(api.url);
    const gateway = await setUpGateway(`http://api.example:${port}`, {
      HEADGATE_UPSTREAM_ADDRESS: '127.0.0.1',
    });
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200 });
    expect(api.seen).toMatchObject([{ headers: { host: `api.example:${port}` } }]);
  });

  test('does not make a certificate of another name valid', async () => {
    const other = certificates.make('DNS:other.example');
    const api = await apiWith({ tls: other });
    const gateway = await setUpGateway('https://api.example', {
      HEADGATE_UPSTREAM_ADDRESS: api.address,
      HEADGATE_UPSTREAM_CA: other.certPath,
      HEADGATE_RETRIES: '0',
    });
    const answer = await ask(`${gateway.url}/a`);
    expect(answer.headers['headgate-error']).toBe('upstream-unreachable');
    expect(JSON.parse(answer.text).detail).toBe(
      "the API's certificate is for another name (ERR_TLS_CERT_ALTNAME_INVALID); it saw no request",
    );
    expect(api.seen).toEqual([]);
  });
});

describe('HEADGATE_UPSTREAM_CA', () => {
  test('is required for an API whose certificate no public authority signed', async () => {
    const api = await apiWith(overTls);
    const gateway = await setUpGateway('https://api.example', {
      HEADGATE_UPSTREAM_ADDRESS: api.address,
      HEADGATE_RETRIES: '0',
    });
    expect((await ask(`${gateway.url}/a`)).status).toBe(502);
    expect(api.seen).toEqual([]);
  });

  test('must be a file of certificates', async () => {
    const path = join(certificates.folder, 'empty.pem');
    writeFileSync(path, 'nothing\n');
    await expect(
      setUpGateway('https://api.example', { HEADGATE_UPSTREAM_CA: path }),
    ).rejects.toThrow('HEADGATE_UPSTREAM_CA: expected certificates in PEM');
  });
});

describe('a proxy from the environment', () => {
  test('tunnels to an https API, which sees its own name', async () => {
    const api = await apiWith(overTls);
    const proxy = await proxyTo(api, CREDENTIALS);
    const gateway = await setUpGateway('https://api.example', {
      HTTPS_PROXY: proxy.url.replace('//', '//user:p%20w@'),
      HEADGATE_UPSTREAM_CA: certificate.certPath,
    });
    for (let i = 0; i < 3; i++) {
      const answer = await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' });
      expect(answer).toMatchObject({ status: 200, text: 'ok' });
    }
    expect(proxy.asked).toEqual(['CONNECT api.example:443']);
    expect(api.seen[0]).toMatchObject({
      servername: 'api.example',
      headers: { host: 'api.example' },
    });
    expect(api.seen[0]?.headers['proxy-authorization']).toBeUndefined();
  });

  test('forwards to an http API, with each header once and in order', async () => {
    const api = await apiWith();
    const proxy = await proxyTo(api, CREDENTIALS);
    const gateway = await setUpGateway('http://api.example/v4', {
      http_proxy: proxy.url.replace('//', '//user:p%20w@'),
    });
    const answer = await ask(`${gateway.url}/a?b=1`, {
      method: 'POST',
      body: 'hi',
      headers: ['X-R', '1', 'X-R', '2', 'Content-Length', '2'],
    });
    expect(answer).toMatchObject({ status: 200, text: 'ok' });
    expect(proxy.asked).toEqual(['POST http://api.example/v4/a?b=1']);
    expect(api.seen[0]).toMatchObject({
      url: '/v4/a?b=1',
      headers: { host: 'api.example', 'x-r': '1, 2' },
    });
  });

  test.each(['http', 'https'])(
    'that refuses the credentials gives a 502, not its own answer (%s)',
    async (scheme) => {
      const api = await apiWith(scheme === 'https' ? overTls : {});
      const proxy = await proxyTo(api, CREDENTIALS);
      const gateway = await setUpGateway(`${scheme}://api.example`, {
        [`${scheme.toUpperCase()}_PROXY`]: proxy.url,
        HEADGATE_RETRIES: '0',
      });
      const answer = await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' });
      expect(answer.status).toBe(502);
      expect(answer.headers['headgate-error']).toBe('upstream-unreachable');
      expect(JSON.parse(answer.text).detail).toBe('the proxy answered 407; it saw no request');
      expect(api.seen).toEqual([]);
      const [failed] = await gateway.log.wait('attempt failed', 1);
      expect(failed).toMatchObject({ sent: 'unsent', reason: 'unreachable' });
      expect(failed?.['hint']).toContain('HTTPS_PROXY');
    },
  );

  test('is not used for the hosts that NO_PROXY names', async () => {
    const api = await apiWith();
    const proxy = await proxyTo(api);
    const gateway = await setUpGateway(api.url, {
      HTTP_PROXY: proxy.url,
      NO_PROXY: 'localhost, 127.0.0.1',
    });
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200 });
    expect(proxy.asked).toEqual([]);
  });

  test.each([
    ['https://api.example', { HTTPS_PROXY: 'p:1' }, 'proxy'],
    ['https://api.example', { HTTP_PROXY: 'p:1' }, 'direct'],
    ['http://api.example', { HTTPS_PROXY: 'p:1' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: '' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: '*' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: 'example' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: '.example' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: 'pi.example' }, 'proxy'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: 'api.example:443' }, 'direct'],
    ['https://api.example', { HTTPS_PROXY: 'p:1', NO_PROXY: 'api.example:80' }, 'proxy'],
    ['http://[::1]:9', { HTTP_PROXY: 'p:1', NO_PROXY: '::1' }, 'direct'],
    ['http://[::1]:9', { HTTP_PROXY: 'p:1', NO_PROXY: '[::1]:9' }, 'direct'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: 'x, 10.0.0.0/8' }, 'direct'],
    ['http://11.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.0.0.0/8' }, 'proxy'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.9.9.9/8' }, 'direct'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.1.2.2/31' }, 'direct'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.1.2.3/32' }, 'direct'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.1.2.2/32' }, 'proxy'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '0.0.0.0/0' }, 'direct'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '10.0.0.0/33' }, 'proxy'],
    ['http://10.1.2.3', { HTTP_PROXY: 'p:1', NO_PROXY: '::/0' }, 'proxy'],
    ['http://[fd00:1::2]', { HTTP_PROXY: 'p:1', NO_PROXY: 'fd00::/8' }, 'direct'],
    ['http://[fd00:1::2]', { HTTP_PROXY: 'p:1', NO_PROXY: '[fd00:1::]/32' }, 'direct'],
    ['http://[fe00:1::2]', { HTTP_PROXY: 'p:1', NO_PROXY: 'fd00::/8' }, 'proxy'],
    ['http://a.example', { HTTP_PROXY: 'p:1', NO_PROXY: '0.0.0.0/0' }, 'proxy'],
    ['http://a.example', { HTTP_PROXY: 'socks5://p:1' }, 'bad'],
  ])('%s with %j: %s', (origin, env, kind) => {
    expect(proxyFor(env, origin).kind).toBe(kind);
  });
});

describe('a socket to the API', () => {
  const setUp = async (settings: Record<string, string>) => {
    const clock = new FakeClock();
    const api = await apiWith();
    const gateway = await setUpGateway(api.url, settings, { clock });
    return { api, gateway, clock };
  };

  test('serves a bounded number of requests', async () => {
    const { api, gateway } = await setUp({ HEADGATE_UPSTREAM_SOCKET_REQUESTS: '3' });
    for (let i = 0; i < 7; i++) expect((await ask(`${gateway.url}/a`)).status).toBe(200);
    expect(api.connections).toBe(3);
  });

  test('is closed behind the answer with which it has reached its age', async () => {
    const { api, gateway, clock } = await setUp({ HEADGATE_UPSTREAM_SOCKET_AGE: '10s' });
    for (const connections of [1, 1, 1, 2, 2]) {
      const { status, text } = await ask(`${gateway.url}/a`);
      expect([status, text, api.connections]).toEqual([200, 'ok', connections]);
      clock.advance(5000);
    }
  });
});

describe('a name of the API that moves', () => {
  const NAME = 'api.moves.example';
  const [OLD, NEW] = ['127.0.0.2', '127.0.0.3'] as const;
  const SOCKETS = 4;

  /** A gateway in front of a name that leads to `OLD` until `move` is called. */
  async function setUpMoving(settings: Record<string, string>) {
    const clock = new FakeClock();
    const api = await apiWith({ host: '0.0.0.0' });
    const upstream = `http://${NAME}:${new URL(api.url).port}`;
    const gateway = await setUpGateway(upstream, settings, { clock });
    let address: string = OLD;
    const lookup = vi.spyOn(dns, 'lookup');
    onTestFinished(() => lookup.mockRestore());
    lookup.mockImplementation((...given: readonly unknown[]) => {
      const [name, options, callback] = given;
      if (typeof callback !== 'function') throw new Error('expected a callback');
      const isAll = typeof options === 'object' && options !== null && 'all' in options;
      if (name !== NAME) callback(new Error(`expected ${NAME}, got ${String(name)}`));
      else if (isAll && options.all === true) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    });
    /** Sends as many calls at once as there are sockets, and returns where they arrived. */
    const round = async (): Promise<(string | undefined)[]> => {
      const before = api.seen.length;
      await Promise.all(
        Array.from({ length: SOCKETS }, async () => {
          expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200, text: 'ok' });
        }),
      );
      return api.seen.slice(before).map((seen) => seen.address);
    };
    return { clock, round, move: () => void (address = NEW) };
  }

  const all = (address: string): string[] => Array(SOCKETS).fill(address);

  test('gets the calls at its new address once the sockets have reached their age', async () => {
    const { clock, round, move } = await setUpMoving({ HEADGATE_UPSTREAM_SOCKET_AGE: '10s' });
    expect(await round()).toEqual(all(OLD));
    move();
    clock.advance(10_000);
    // Each socket that is still open serves its last request.
    for (let i = 0; i < 2; i++) await round();
    expect(await round()).toEqual(all(NEW));
  });

  test('gets them also once the sockets have served their number of requests', async () => {
    const { round, move } = await setUpMoving({ HEADGATE_UPSTREAM_SOCKET_REQUESTS: '3' });
    expect(await round()).toEqual(all(OLD));
    move();
    const arrived: (string | undefined)[] = [];
    for (let i = 0; i < 12; i++) arrived.push(...(await round()));
    expect(arrived.filter((address) => address === OLD).length).toBeLessThanOrEqual(2 * SOCKETS);
    expect(arrived.slice(-SOCKETS)).toEqual(all(NEW));
  });
});

describe('a 502 says what failed', () => {
  const detailOf = async (
    url: string,
  ): Promise<{ detail: string; log: string; status: unknown }> => {
    const gateway = await setUpGateway(url, { HEADGATE_RETRIES: '0' });
    const { text, headers } = await ask(`${gateway.url}/a`);
    return {
      detail: String(JSON.parse(text).detail),
      log: gateway.log.text,
      status: headers['proxy-status'],
    };
  };

  test('a name that does not resolve', async () => {
    const name = 'no-such-host.invalid';
    // A real name server may take longer than the gateway waits.
    const lookup = vi.spyOn(dns, 'lookup');
    onTestFinished(() => lookup.mockRestore());
    lookup.mockImplementation((...given: readonly unknown[]) => {
      const callback = given.at(-1);
      if (typeof callback !== 'function') throw new Error('expected a callback');
      const unknown = Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), {
        code: 'ENOTFOUND',
      });
      // The gateway's listeners ask for the address of their host, too.
      if (given[0] === name) callback(unknown);
      else callback(null, given[0], 4);
    });
    const { detail } = await detailOf(`http://${name}`);
    expect(detail).toMatch(/^the API's name does not resolve \(ENOTFOUND\); it saw no/);
  });

  test('a refused connection', async () => {
    const { detail, status } = await detailOf('http://127.0.0.1:9');
    expect(status).toBe('headgate; error=connection_refused');
    expect(detail).toBe("the API's host refused the connection (ECONNREFUSED); it saw no request");
  });

  test('an issuer that is not trusted, with the setting in the log', async () => {
    const api = await apiWith(overTls);
    const { detail, log } = await detailOf(api.url);
    expect(detail).toMatch(/^the API's certificate is not trusted \(\w+\); it saw no request$/);
    expect(detail).not.toContain('HEADGATE');
    expect(log).toContain('HEADGATE_UPSTREAM_CA');
  });

  test('an API that speaks no TLS', async () => {
    const api = await apiWith({});
    const { detail } = await detailOf(api.url.replace('http:', 'https:'));
    expect(detail).toMatch(/^TLS with the API failed \(\w+\); it saw no request$/);
  });
});
