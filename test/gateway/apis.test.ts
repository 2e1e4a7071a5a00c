import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { ask, type Answer } from '../support/ask.ts';
import { startGateway, type GatewayOptions, type TestGateway } from '../support/gateway.ts';
import { exchangeRaw } from '../support/raw-socket.ts';
import { bucketsOf } from '../support/setup.ts';

/** Tests of one gateway in front of several APIs. */

const TOKENS = { old: 'token-of-old', new: 'token-of-new', other: 'token-of-other' };
type ApiName = keyof typeof TOKENS;

interface Setup {
  readonly apis: Readonly<Record<ApiName, Api>>;
  readonly gateway: TestGateway;
}

type Answering = Parameters<typeof startApi>[0];

const OK: Answering = (_incoming, outgoing) => outgoing.end('ok');

/** Starts three APIs: `new` under a path, `other` under a host, and `old`, which has the rest. */
async function setUp(
  answers: Partial<Record<ApiName, Answering>> = {},
  { further = '', ...options }: GatewayOptions & { readonly further?: string } = {},
): Promise<Setup> {
  const start = async (name: ApiName): Promise<Api> => {
    const api = await startApi(answers[name] ?? OK);
    onTestFinished(() => api.close());
    return api;
  };
  const apis = { old: await start('old'), new: await start('new'), other: await start('other') };
  const yaml = `
apis:
  new:
    upstreamUrl: ${apis.new.url}/base
    token: ${TOKENS.new}
    match: { path: /v4/** }
  old:
    upstreamUrl: ${apis.old.url}
    apiVersion: 3
    token: ${TOKENS.old}
    classes: [{ name: read, methods: [GET] }, { name: write }]
    pathMasks: [/tokens/*]
  other:
    upstreamUrl: ${apis.other.url}
    token: ${TOKENS.other}
    match: { host: [other.internal, other.example] }
    maxWait: 0
${further}`;
  const gateway = await startGateway({
    ...options,
    settings: { HEADGATE_UPSTREAM_URL: '', ...options.settings },
    files: { 'headgate.yaml': yaml },
  });
  onTestFinished(() => gateway.stop());
  return { apis, gateway };
}

function get({ gateway }: Setup, path: string, host = 'gateway'): Promise<Answer> {
  return ask(gateway.url + path, { headers: { host } });
}

describe('a request', () => {
  test('goes to the API of its host, else of the longest path prefix, and the prefix is not sent', async () => {
    const setup = await setUp();
    for (const [path, host, name, sent] of [
      ['/v4/items?page=2', 'gateway', 'new', '/base/items?page=2'],
      ['/v4', 'gateway', 'new', '/base'],
      ['/v4?a=1', 'gateway', 'new', '/base?a=1'],
      ['/v4/', 'gateway', 'new', '/base/'],
      ['/x/../v4/./a', 'gateway', 'new', '/base/a'],
      ['/%764/a%20b', 'gateway', 'new', '/base/a%20b'],
      ['/v4//double', 'gateway', 'new', '/base//double'],
      ['/v4x/items', 'gateway', 'old', '/v4x/items'],
      ['/V4/items', 'gateway', 'old', '/V4/items'],
      ['/v4/../items', 'gateway', 'old', '/items'],
      ['/', 'gateway', 'old', '/'],
      ['/v4/items', 'OTHER.internal:80', 'other', '/v4/items'],
      ['/items', 'other.example', 'other', '/items'],
    ] as const) {
      const api = setup.apis[name];
      const before = api.seen.length;
      expect([path, (await get(setup, path, host)).status]).toEqual([path, 200]);
      expect([path, api.seen.slice(before).map(({ url }) => url)]).toEqual([path, [sent]]);
    }
  });

  test("has its API's version, token, class, name and path in what is sent and logged", async () => {
    const setup = await setUp();
    await get(setup, '/tokens/secret');
    await get(setup, '/v4/tokens/seen');
    expect(setup.apis.old.seen[0]?.headers).toMatchObject({
      accept: 'application/json; version=3',
      authorization: `token ${TOKENS.old}`,
    });
    expect(setup.apis.new.seen[0]?.headers['accept']).toBeUndefined();
    const lines = await setup.gateway.log.wait('call', 2);
    expect(lines).toMatchObject([
      { api: 'old', path: '/tokens/***', class: 'read', bucket: 'old:own:read' },
      { api: 'new', path: '/tokens/seen', class: 'all', bucket: 'new:own:all' },
    ]);
  });

  test('in absolute form goes to the API of its authority, whatever its Host field says', async () => {
    const { apis, gateway } = await setUp();
    const raw = await exchangeRaw(
      gateway.url,
      'GET http://other.example/items HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n',
    );
    expect(raw).toMatch(/^HTTP\/1\.1 200 /);
    expect(apis.other.seen.map(({ url }) => url)).toEqual(['/items']);
    expect(apis.old.seen).toEqual([]);
  });

  test('is refused by the API for a host that is not its own', async () => {
    const setup = await setUp();
    for (const host of ['evil.example', 'a/v4', '']) {
      const { status } = await get(setup, '/items', host);
      expect([host, status]).toEqual([host, host === '' ? 200 : 403]);
    }
    expect(setup.apis.new.seen).toEqual([]);
  });

  test('that is malformed is refused before any route, and has its line', async () => {
    const { apis, gateway } = await setUp();
    const raw = await exchangeRaw(
      gateway.url,
      'GET /v4/a%zz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n',
    );
    expect(raw).toMatch(/^HTTP\/1\.1 400 /);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 400, code: 'bad-request' });
    expect(line).not.toHaveProperty('api');
    expect(apis.new.seen).toEqual([]);
  });
});

test('a request that belongs to no API gets a problem and a line, without what any API masks', async () => {
  const api = await startApi(OK);
  onTestFinished(() => api.close());
  const gateway = await startGateway({
    settings: { HEADGATE_UPSTREAM_URL: '' },
    files: {
      'headgate.yaml': `apis: {one: {upstreamUrl: "${api.url}", pathMasks: [/tokens/*], match: {path: /v4/**}}}`,
    },
  });
  onTestFinished(() => gateway.stop());
  const answer = await ask(`${gateway.url}/v3/tokens/secret?access_token=secret`);
  expect(answer).toMatchObject({ status: 404, headers: { 'headgate-error': 'no-route' } });
  const other = await ask(`${gateway.url}/V4/tokens/secret`);
  expect(other.status).toBe(404);
  const lines = await gateway.log.wait('call', 2);
  expect(lines).toMatchObject([
    { status: 404, outcome: 'failed', code: 'no-route', query: 'access_token=***' },
    { path: '/V4/tokens/***' },
  ]);
  expect(api.seen).toEqual([]);
});

test('a token never goes to the origin of another API', async () => {
  const { apis, gateway } = await setUp();
  const segment = fc.constantFrom(
    'v4',
    'V4',
    '%764',
    '..',
    '.',
    '',
    'items',
    '%2e%2e',
    'v4%2F',
    ';',
  );
  const host = fc.constantFrom(
    'gateway',
    'other.internal',
    'OTHER.example:8080',
    '127.0.0.1',
    'evil.example',
    'other.example.',
    ...Object.values(apis).map(({ url }) => new URL(url).host),
  );
  const form = fc.constantFrom('origin', 'http', 'https');
  const credential = fc.constantFrom(undefined, 'token caller', 'token ', 'Bearer');
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { maxLength: 5 }),
      host,
      host,
      form,
      credential,
      async (segments, hostField, authority, targetForm, authorization) => {
        const path = `/${segments.join('/')}`;
        const target = targetForm === 'origin' ? path : `${targetForm}://${authority}${path}`;
        const line = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`;
        const raw = await exchangeRaw(
          gateway.url,
          `GET ${target} HTTP/1.1\r\nHost: ${hostField}\r\n${line}Connection: close\r\n\r\n`,
        );
        expect(raw).toMatch(/^HTTP\/1\.1 (?:200|400|403|404|429|503) /);
      },
    ),
    { numRuns: 150 },
  );
  for (const name of ['old', 'new', 'other'] as const) {
    const { seen } = apis[name];
    expect([name, seen.length > 0]).toEqual([name, true]);
    const allowed = new Set([`token ${TOKENS[name]}`, 'token caller']);
    const others = seen.filter(({ headers }) => !allowed.has(headers.authorization ?? ''));
    expect([name, others]).toEqual([name, []]);
  }
});

describe('the budgets of two APIs', () => {
  test('never mix: a credential that one throttles is served by the other', async () => {
    const throttling: Answering = (_incoming, outgoing) => {
      outgoing.writeHead(429, { 'retry-after': '600' });
      outgoing.end();
    };
    const setup = await setUp({ other: throttling });
    const headers = { authorization: 'token of-the-caller' };
    const ofOther = { headers: { ...headers, host: 'other.internal' } };
    expect((await ask(`${setup.gateway.url}/a`, ofOther)).status).toBe(503);
    expect((await ask(`${setup.gateway.url}/a`, ofOther)).status).toBe(503);
    expect((await ask(`${setup.gateway.url}/a`, { headers })).status).toBe(200);
    expect((await ask(`${setup.gateway.url}/v4/a`, { headers })).status).toBe(200);
    expect(setup.apis.other.seen).toHaveLength(1);
    const ids = (await bucketsOf(setup.gateway)).map(({ id }) => id);
    expect(ids.map((id) => id.replace(/[0-9a-f]{16}/, 'hash')).toSorted()).toEqual([
      'new:hash:all',
      'old:hash:read',
      'other:hash:all',
    ]);
    expect(setup.gateway.log.named('throttled')).toMatchObject([{ api: 'other' }]);
  });

  test('are shown and counted with the name of the API, and can be paused', async () => {
    const token = 'admin-token-0123456789';
    const setup = await setUp({}, { settings: { HEADGATE_ADMIN_TOKEN: token } });
    await get(setup, '/a');
    await get(setup, '/v4/a');
    await get(setup, '/a', 'evil.example');
    const { adminUrl } = setup.gateway;
    const { text } = await ask(`${adminUrl}/metrics`);
    for (const line of [
      /^headgate_calls_total\{.*api="old".*\} 1$/m,
      /^headgate_calls_total\{.*api="new".*\} 1$/m,
      /^headgate_attempts_total\{result="answered",api="old"\} 1$/m,
      /^headgate_bucket_accepted_total\{bucket="new:own:all",class="all",api="new"\} 1$/m,
      /^headgate_bucket_leases\{bucket="new:own:all",class="all",api="new"\} 0$/m,
      /^headgate_api_clock_offset_seconds\{api="other"\} /m,
    ]) {
      expect(text).toMatch(line);
    }
    const headers = { authorization: `Bearer ${token}` };
    const pause = { method: 'POST', headers };
    const paused = await ask(`${adminUrl}/buckets/new:own:all/pause`, pause);
    expect(paused).toMatchObject({ status: 200 });
    expect(paused.text).toContain('"paused":true');
    const { text: calls } = await ask(`${adminUrl}/calls`, { headers });
    expect(calls).toContain('"api":"new"');
  });
});

test('links in answers lead to the path under which the caller reaches the API', async () => {
  const linking: Answering = ({ headers }, outgoing) => {
    outgoing.writeHead(201, {
      location: '/base/items/7',
      link: `<http://${headers.host}/base/items?page=2>; rel="next", <relative>; rel="self"`,
    });
    outgoing.end();
  };
  const setup = await setUp({ new: linking, old: linking });
  const { headers } = await get(setup, '/v4/items');
  expect(headers.location).toBe('/v4/items/7');
  expect(headers['link']).toBe(
    `<http://gateway/v4/items?page=2>; rel="next", <relative>; rel="self"`,
  );
  expect((await get(setup, '/items')).headers.location).toBe('/base/items/7');
});

test('an answer that breaks off never looks whole behind a route', async () => {
  const breaking: Answering = (_incoming, outgoing) => {
    outgoing.writeHead(200);
    outgoing.write('half', () => outgoing.destroy());
  };
  const setup = await setUp({ new: breaking });
  const answer = await get(setup, '/v4/a').catch(() => undefined);
  expect(answer?.complete ?? false).toBe(false);
  expect(await setup.gateway.log.wait('call', 1)).toHaveLength(1);
});
