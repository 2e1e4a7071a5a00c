import { randomBytes } from 'node:crypto';
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestGateway } from '../support/gateway.ts';
import { setUpGateway, setUpApi } from './setup.ts';

/** The level that Brotli takes by default needs seconds for a few megabytes. */
const encodeBrotli = (text: string): Buffer =>
  brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });

/** The API's answer, given its own origin. */
interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

async function apiOf(
  reply: (origin: string) => Reply,
  { base = '', settings = {} }: { base?: string; settings?: Record<string, string> } = {},
): Promise<{ api: Api; gateway: TestGateway }> {
  const api: Api = await startApi((_incoming, outgoing) => {
    const { status = 200, headers = {}, body = '' } = reply(api.url);
    outgoing.writeHead(status, { 'content-type': 'application/json', ...headers });
    outgoing.end(body);
  });
  onTestFinished(() => api.close());
  // On this clock, the gateway holds the head of an answer for as long as its body takes.
  const clock = new FakeClock();
  return { api, gateway: await setUpGateway(api.url + base, settings, { clock }) };
}

const MIB = 1024 * 1024;

const list = (next: string | null): string =>
  `{ "count":1, "schema_version" : 3,"links":{"previous":null, "next":${JSON.stringify(next)}},\n` +
  `  "results":[{"id":12345678901234567890,"name":"\u00e9\u4e2d","url":"https://elsewhere.example/"}]}`;

describe('links to the API are rewritten to the gateway', () => {
  test('in Location, Content-Location and every target of Link, and in no other header', async () => {
    const { gateway } = await apiOf((origin) => ({
      status: 201,
      headers: {
        location: `${origin}/domains/7?x=1#part`,
        'content-location': `${origin}/domains/7.json`,
        link: `<${origin}/domains?page=2>; rel="next", <https://elsewhere.example/a>; rel="help"`,
        'x-note': `${origin}/domains/7`,
      },
    }));
    const { headers } = await ask(`${gateway.url}/domains`);
    expect(headers.location).toBe(`${gateway.url}/domains/7?x=1#part`);
    expect(headers['content-location']).toBe(`${gateway.url}/domains/7.json`);
    expect(headers['link']).toBe(
      `<${gateway.url}/domains?page=2>; rel="next", <https://elsewhere.example/a>; rel="help"`,
    );
    expect(headers['x-note']).toContain('/domains/7');
    expect(headers['x-note']).not.toContain(gateway.url);
  });

  test('to the name that the caller used, over TLS where a trusted proxy in front says so', async () => {
    const { gateway } = await apiOf((origin) => ({ headers: { location: `${origin}/a` } }), {
      settings: { HEADGATE_TRUSTED_PROXIES: '127.0.0.0/8' },
    });
    const { port } = new URL(gateway.url);
    const called = await ask(`${gateway.url}/a`, { headers: { host: `gate.internal:${port}` } });
    expect(called.headers.location).toBe(`http://gate.internal:${port}/a`);
    const tls = await ask(`${gateway.url}/a`, {
      headers: { host: 'gate.internal', 'x-forwarded-proto': 'https' },
    });
    expect(tls.headers.location).toBe('https://gate.internal/a');
  });

  test('without the base path, which the gateway adds to each request', async () => {
    const { api, gateway } = await apiOf(
      (origin) => ({
        headers: { location: '/v4/domains/7', link: `<${origin}/other>; rel="up"` },
        body: list(`${origin}/v4/domains?page=2`),
      }),
      { base: '/v4' },
    );
    const { headers, text } = await ask(`${gateway.url}/domains`);
    expect(headers.location).toBe('/domains/7');
    // The gateway cannot reach a URL outside the base path.
    expect(headers['link']).toBe(`<${api.url}/other>; rel="up"`);
    expect(text).toBe(list(`${gateway.url}/domains?page=2`));
    expect(api.seen.at(-1)?.url).toBe('/v4/domains');
  });

  test('in the links of a JSON list, and all other bytes stay as they are', async () => {
    const { gateway } = await apiOf((origin) => ({
      headers: { etag: '"abc"', 'content-md5': 'x' },
      body: list(`${origin}/domains?page=2&q=%C3%A9`),
    }));
    const { headers, text, complete } = await ask(`${gateway.url}/domains`);
    expect(complete).toBe(true);
    expect(text).toBe(list(`${gateway.url}/domains?page=2&q=%C3%A9`));
    expect(headers['content-length']).toBe(String(Buffer.byteLength(text)));
    // The bytes differ, so headers that identify the old ones must not be kept.
    expect(headers.etag).toBe('W/"abc-headgate"');
    expect(headers['content-md5']).toBeUndefined();
  });

  test('in links with escaped slashes', async () => {
    const { gateway } = await apiOf((origin) => ({
      body: `{"links":{"next":${JSON.stringify(`${origin}/a`).replaceAll('/', '\\/')}}}`,
    }));
    const { text } = await ask(`${gateway.url}/a`);
    expect(JSON.parse(text)).toEqual({ links: { next: `${gateway.url}/a` } });
  });

  test.each([
    ['gzip', gzipSync, gunzipSync],
    ['br', encodeBrotli, brotliDecompressSync],
  ])('in a list in the content coding %s, which is kept', async (coding, encode, decode) => {
    const { gateway } = await apiOf((origin) => ({
      headers: { 'content-encoding': coding },
      body: encode(list(`${origin}/domains?page=2`)),
    }));
    const { headers, body } = await ask(`${gateway.url}/domains`, {
      headers: { 'accept-encoding': coding },
    });
    expect(headers['content-encoding']).toBe(coding);
    expect(headers['content-length']).toBe(String(body.length));
    expect(decode(body).toString()).toBe(list(`${gateway.url}/domains?page=2`));
  });

  test.each([
    ['with a byte order mark', {}, 'GET', '\ufeff'],
    ['as text/json', { 'content-type': 'text/json; charset=utf-8' }, 'GET', ''],
    ['as HAL', { 'content-type': 'application/hal+json' }, 'GET', ''],
    ['in an answer to POST', {}, 'POST', ''],
  ])('in a list %s', async (_name, headers, method, before) => {
    const { gateway } = await apiOf((origin) => ({
      headers,
      body: before + list(`${origin}/domains?page=2`),
    }));
    const { text } = await ask(`${gateway.url}/domains`, { method });
    expect(text).toBe(before + list(`${gateway.url}/domains?page=2`));
  });

  test('of the other scheme', async () => {
    const { gateway } = await apiOf((origin) => ({
      headers: { location: `${origin.replace('http:', 'https:')}/b` },
      body: list(`${origin.replace('http:', 'https:')}/a`),
    }));
    const { text, headers } = await ask(`${gateway.url}/a`);
    expect(text).toBe(list(`${gateway.url}/a`));
    expect(headers.location).toBe(`${gateway.url}/b`);
  });

  test('in the first MiB of a larger list, whose rest is streamed', async () => {
    const rest = 'x'.repeat(3 * MIB);
    const { api, gateway } = await apiOf((origin) => {
      const body = list(`${origin}/a`) + rest;
      return { headers: { 'content-length': String(Buffer.byteLength(body)), etag: '"a"' }, body };
    });
    const { text, headers } = await ask(`${gateway.url}/a`);
    expect(text === list(`${gateway.url}/a`) + rest).toBe(true);
    expect(headers).toMatchObject({
      'content-length': String(Buffer.byteLength(text)),
      etag: 'W/"a-headgate"',
    });
    expect(api.url).not.toBe(gateway.url);
  });

  test.each([
    ['gzip', gzipSync, gunzipSync],
    ['deflate', deflateSync, inflateSync],
    ['br', encodeBrotli, brotliDecompressSync],
    ['zstd', zstdCompressSync, zstdDecompressSync],
  ])('in the first MiB of a larger list in %s', async (coding, encode, decode) => {
    // Random digits, so that the encoded list is larger than 1 MiB as well; spaces, so that it is not.
    const random = randomBytes(2 * MIB).toString('hex');
    for (const rest of [random, ' '.repeat(3 * MIB)]) {
      const { gateway } = await apiOf((origin) => ({
        headers: { 'content-encoding': coding, etag: '"a"' },
        body: encode(list(`${origin}/a`) + rest),
      }));
      const { body, headers } = await ask(`${gateway.url}/a`, {
        headers: { 'accept-encoding': coding },
      });
      expect(decode(body).toString() === list(`${gateway.url}/a`) + rest).toBe(true);
      expect(headers).toMatchObject({ 'content-encoding': coding, etag: 'W/"a-headgate"' });
      expect(headers).not.toHaveProperty('content-length');
      const [line] = await gateway.log.wait('call', 1);
      expect(line).toMatchObject({ outcome: 'answered', bytesOut: body.length });
    }
  });

  test('which is reported where it was not possible', async () => {
    const { gateway } = await apiOf((o) => ({
      body: `{"pad":"${' '.repeat(2 * MIB)}","links":{"next":"${o}/a"}}`,
    }));
    await ask(`${gateway.url}/a`);
    expect(await gateway.log.wait('links not rewritten', 1)).toMatchObject([
      { level: 'warn', size: 1, coding: 0, maxBytes: MIB },
    ]);
  });

  test('and a large list that cannot be decoded to its end breaks off', async () => {
    const { gateway } = await apiOf((origin) => ({
      headers: { 'content-encoding': 'gzip' },
      body: gzipSync(list(`${origin}/a`) + randomBytes(3 * MIB).toString('hex')).subarray(
        0,
        2 * MIB,
      ),
    }));
    const { complete } = await ask(`${gateway.url}/a`, { headers: { 'accept-encoding': 'gzip' } });
    expect(complete).toBe(false);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-protocol' });
  });

  test('and the ETag of a rewritten list comes back to the API as it was', async () => {
    const { api, gateway } = await setUpApi(
      (incoming, outgoing) => {
        const headers = { 'content-type': 'application/json', etag: '"abc"' };
        const known = incoming.headers['if-none-match'] === '"x", "abc"';
        outgoing.writeHead(known ? 304 : 200, headers);
        outgoing.end(known ? '' : list(`${api.url}/a`));
      },
      {},
      { clock: new FakeClock() },
    );
    const { headers } = await ask(`${gateway.url}/a`);
    const { etag = '' } = headers;
    expect(etag).toBe('W/"abc-headgate"');
    const again = await ask(`${gateway.url}/a`, { headers: { 'if-none-match': `"x", ${etag}` } });
    expect([again.status, again.headers.etag]).toEqual([304, etag]);
    await ask(`${gateway.url}/a`, { method: 'PUT', headers: { 'if-match': etag } });
    expect(api.seen.at(-1)?.headers['if-match']).toBe('"abc"');
  });

  test('and HEAD has no length that differs from the one of GET', async () => {
    const { gateway } = await apiOf((origin) => ({
      headers: { 'content-length': String(list(`${origin}/a`).length + 3) },
    }));
    const { status, headers } = await ask(`${gateway.url}/a`, { method: 'HEAD' });
    expect(status).toBe(200);
    expect(headers).not.toHaveProperty('content-length');
  });

  test('and the gateway requests only content codings that it can read', async () => {
    const { api, gateway } = await apiOf(() => ({}));
    const asked = async (value: string): Promise<unknown> => {
      await ask(`${gateway.url}/a`, { headers: { 'accept-encoding': value } });
      return api.seen.at(-1)?.headers['accept-encoding'];
    };
    expect(await asked('gzip, deflate, br, zstd')).toBe('gzip, deflate, br, zstd');
    expect(await asked('gzip;q=0.8, dcb, *;q=0.1')).toBe('gzip;q=0.8');
    expect(await asked('compress')).toBe('identity');
  });
});

describe('bytes pass untouched', () => {
  const cases: [string, (origin: string) => Reply][] = [
    ['without a link to the API', () => ({ body: list('https://elsewhere.example/a') })],
    ['of a host whose name only begins like the API’s', (o) => ({ body: list(`${o}0/a`) })],
    ['under another pointer', (o) => ({ body: `{"next":"${o}/a","links":["${o}/a"]}` })],
    ['that are not JSON', (o) => ({ body: `links {"links":{"next":"${o}/a"}}` })],
    [
      'of another type',
      (o) => ({ headers: { 'content-type': 'text/plain' }, body: list(`${o}/a`) }),
    ],
    [
      'that must not be transformed',
      (o) => ({ headers: { 'cache-control': 'private, no-transform' }, body: list(`${o}/a`) }),
    ],
    ['of an error', (o) => ({ status: 400, body: list(`${o}/a`) })],
    ['of a part', (o) => ({ status: 206, body: list(`${o}/a`) })],
    [
      'behind the first MiB',
      (o) => ({ body: `{"pad":"${' '.repeat(2 * MIB)}","links":{"next":"${o}/a"}}` }),
    ],
    [
      'that are not what Content-Encoding says',
      (o) => ({ headers: { 'content-encoding': 'gzip' }, body: list(`${o}/a`) }),
    ],
  ];

  test.each(cases)('%s', async (_name, reply) => {
    const { api, gateway } = await apiOf(reply);
    const { body, complete, headers } = await ask(`${gateway.url}/a`, {
      headers: { 'accept-encoding': 'gzip' },
    });
    const sent = reply(api.url);
    expect(complete).toBe(true);
    expect(body.equals(Buffer.from(sent.body ?? ''))).toBe(true);
    expect(headers['content-encoding']).toBe(sent.headers?.['content-encoding']);
  });

  test('as do headers, when HEADGATE_REWRITE_LINKS is off', async () => {
    const { api, gateway } = await apiOf(
      (origin) => ({ headers: { location: `${origin}/a` }, body: list(`${origin}/a`) }),
      { settings: { HEADGATE_REWRITE_LINKS: 'off' } },
    );
    const { headers, text } = await ask(`${gateway.url}/a`, {
      headers: { 'accept-encoding': 'dcb' },
    });
    expect(headers.location).toBe(`${api.url}/a`);
    expect(text).toBe(list(`${api.url}/a`));
    expect(api.seen.at(-1)?.headers['accept-encoding']).toBe('dcb');
  });

  test('in a list that breaks off before any of it was sent, and the call is logged as failed', async () => {
    const { gateway } = await setUpApi(
      (_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
        outgoing.write('{"links":', () => outgoing.destroy());
      },
      {},
      { clock: new FakeClock() },
    );
    const { status, headers } = await ask(`${gateway.url}/a`);
    expect(status).toBe(502);
    expect(headers['headgate-error']).toBe('upstream-protocol');
  });
});
