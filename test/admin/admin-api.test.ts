import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { makeAdminApp } from '../../src/admin/app.ts';
import { ADMIN_REFUSALS } from '../../src/admin/auth.ts';
import { makeEvents } from '../../src/admin/events.ts';
import { readPageFiles } from '../../src/admin/page-files.ts';
import { RecentActivity } from '../../src/telemetry/recent-activity.ts';
import { ask, type Answer } from '../support/ask.ts';
import { exchangeRaw } from '../support/raw-socket.ts';
import { codeWords, read, section, tableRows } from '../docs/markdown.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startAdminSetup, type AdminSetup } from '../support/admin-setup.ts';

const TOKEN = 'an-operator-s-token';
const AUTHORIZATION = { Authorization: `Bearer ${TOKEN}` };
const content = z.record(z.string(), z.object({ schema: z.unknown() }));
const operation = z.object({
  responses: z.record(z.string(), z.object({ content: content.optional() })),
});
const document = z.object({
  openapi: z.string(),
  paths: z.record(z.string(), z.record(z.string(), operation)),
  components: z.object({ schemas: z.record(z.string(), z.unknown()) }),
});
const buckets = z.object({ buckets: z.array(z.looseObject({ id: z.string() })) });
const calls = z.object({
  calls: z.array(z.looseObject({ path: z.string(), caller: z.string(), sequence: z.number() })),
  skipped: z.number(),
});

let watched: AdminSetup;
beforeAll(async () => {
  watched = await startAdminSetup({
    HEADGATE_ADMIN_TOKEN: TOKEN,
    HEADGATE_TOKEN: 'secret-api-token',
  });
  await watched.call('/digital_certificates', 'reports');
  await watched.call('/domains', 'billing');
  await watched.call('/no-such-thing', 'billing', 'POST');
});
afterAll(() => watched.close());

function admin(path: string, method = 'GET'): Promise<Answer> {
  return ask(watched.gateway.adminUrl + path, { method, headers: AUTHORIZATION });
}

async function readDocument(): Promise<z.output<typeof document>> {
  return document.parse(JSON.parse((await admin('/openapi.json')).text));
}

/** The routes of the app, without its middleware. */
function routes(): string[] {
  const clock = new FakeClock();
  const ledger = { snapshot: () => [], pause: () => false, resume: () => false };
  const activity = new RecentActivity(clock);
  const common = {
    ledger,
    ledgerMode: () => 'memory' as const,
    isDraining: () => false,
    isObserving: () => false,
    canPause: () => false,
    credentialName: () => undefined,
  };
  const app = makeAdminApp({
    ...common,
    isMisconfigured: () => false,
    auth: async (_, next) => next(),
    activity,
    metrics: { expose: () => Promise.reject(new Error('not used')) },
    events: makeEvents({ ...common, clock, activity, replica: '', version: '' }),
    page: readPageFiles(),
    settings: () => [],
    log: { info: () => undefined, error: () => undefined },
    replica: '',
    version: '',
  });
  return app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
}

async function firstBucket(): Promise<string> {
  const [bucket] = buckets.parse(JSON.parse((await admin('/buckets')).text)).buckets;
  return encodeURIComponent(bucket?.id ?? '');
}

test('every route is in the OpenAPI document, and everything in the document is a route', async () => {
  const { openapi, paths } = await readDocument();
  expect(openapi).toBe('3.1.0');
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.toSorted()).toEqual(routes().toSorted());
});

test('responses match the schemas of the OpenAPI document', async () => {
  const { paths, components } = await readDocument();
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': true } });
  ajv.addSchema({ $id: 'api', components });
  const id = await firstBucket();
  const requests: [string, string, string, string][] = [
    ['GET', '/health/live', '/health/live', '200'],
    ['GET', '/health/ready', '/health/ready', '200'],
    ['GET', '/buckets', '/buckets', '200'],
    ['GET', '/buckets/{id}', `/buckets/${id}`, '200'],
    ['GET', '/buckets/{id}', '/buckets/unknown', '404'],
    ['POST', '/buckets/{id}/pause', `/buckets/${id}/pause`, '200'],
    ['POST', '/buckets/{id}/resume', `/buckets/${id}/resume`, '200'],
    ['POST', '/buckets/{id}/pause', '/buckets/unknown/pause', '404'],
    ['GET', '/calls', '/calls?limit=2', '200'],
    ['GET', '/calls', '/calls?status=teapot', '400'],
    ['GET', '/calls', '/calls?limit=0', '400'],
    ['GET', '/config', '/config', '200'],
    ['GET', '/openapi.json', '/openapi.json', '200'],
  ];
  for (const [method, path, target, status] of requests) {
    const answer = await admin(target, method);
    expect(`${target} ${answer.status}`).toBe(`${target} ${status}`);
    expect(answer.headers['content-type']).toMatch(/^application\/json/);
    const described = paths[path]?.[method.toLowerCase()]?.responses[status]?.content;
    const schema = JSON.stringify(described?.['application/json']?.schema);
    const validate = ajv.compile(JSON.parse(schema.replaceAll('"#/', '"api#/')));
    validate(JSON.parse(answer.text));
    expect({ target, errors: validate.errors }).toEqual({ target, errors: null });
  }
});

test('refusals match their schema, and docs/admin-api.md lists each code', async () => {
  const { components } = await readDocument();
  const validate = new Ajv2020({ strict: false }).compile(
    JSON.parse(JSON.stringify(components.schemas['Refusal'])),
  );
  const headers = { 'Sec-Fetch-Site': 'cross-site' };
  const refused = await ask(`${watched.gateway.adminUrl}/events`, { headers });
  expect(refused.status).toBe(403);
  expect(validate(JSON.parse(refused.text))).toBe(true);
  const rows = tableRows(section(read('docs/admin-api.md'), '## Refusals'));
  const listed = rows.map(([code = '', status]) => [codeWords(code).join(), Number(status)]);
  const known = Object.entries(ADMIN_REFUSALS).map(([code, { status }]) => [code, status]);
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(known));
});

test.each([
  ['GET /health/ready HTTP/1.0', 200],
  ['OPTIONS /health/ready HTTP/1.0', 200],
  ['OPTIONS / HTTP/1.0', 200],
  ['GET /health/live HTTP/1.0', 200],
  ['GET /metrics HTTP/1.0', 200],
  ['GET /health/ready HTTP/1.1', 400],
])('%s without a Host field, as load balancers send it: %i', async (line, status) => {
  const answer = await exchangeRaw(watched.gateway.adminUrl, `${line}\r\n\r\n`);
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
});

test('the last calls are listed newest first, and can be filtered', async () => {
  const all = calls.parse(JSON.parse((await admin('/calls')).text)).calls;
  expect(all.map(({ path }) => path)).toEqual([
    '/no-such-thing',
    '/domains',
    '/digital_certificates',
  ]);
  const pathsOf = async (query: string): Promise<string[]> =>
    calls.parse(JSON.parse((await admin(`/calls?${query}`)).text)).calls.map(({ path }) => path);
  expect(await pathsOf('caller=BILL')).toEqual(['/no-such-thing', '/domains']);
  expect(await pathsOf('path=dom')).toEqual(['/domains']);
  expect(await pathsOf('status=404')).toEqual(['/no-such-thing']);
  expect(await pathsOf('status=2xx')).toEqual(['/domains', '/digital_certificates']);
  expect(await pathsOf('outcome=shed')).toEqual([]);
  expect(await pathsOf('minWait=10m')).toEqual([]);
  expect(await pathsOf('caller=billing&status=2xx&outcome=answered&minWait=0')).toEqual([
    '/domains',
  ]);
  const two = calls.parse(JSON.parse((await admin('/calls?limit=2')).text));
  expect(two.calls).toHaveLength(2);
  expect(two.skipped).toBe(1);
});

test('an invalid filter is rejected with what was expected', async () => {
  const { status, text } = await admin('/calls?minWait=soon');
  expect(status).toBe(400);
  expect(JSON.parse(text)).toEqual({
    error: 'minWait: expected seconds, or a duration such as 2s, got "soon"',
  });
});

test.each(['/buckets', '/calls', '/events', '/config', '/openapi.json'])(
  '%s refuses a query parameter that it does not know',
  async (path) => {
    const { status, text } = await admin(`${path}?calller=billing`);
    expect(status).toBe(400);
    expect(JSON.parse(text).error).toContain('got "calller"');
  },
);

test('probes, scrapers and links to the page may add parameters of their own', async () => {
  for (const path of ['/health/ready', '/metrics', '/']) {
    expect((await admin(`${path}?from=runbook`)).status).toBe(200);
  }
});

test('bytes that are no request get an error in JSON, too', async () => {
  const answer = await exchangeRaw(watched.gateway.adminUrl, 'nonsense\r\n\r\n');
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  expect(head).toMatch(/^HTTP\/1\.1 400 [\s\S]*Content-Type: application\/json/);
  expect(JSON.parse(body)).toEqual({ error: expect.stringContaining('HPE_INVALID') });
});

test('the settings are shown without their secrets', async () => {
  const { text } = await admin('/config');
  expect(text).not.toContain('secret-api-token');
  expect(text).not.toContain(TOKEN);
  const { settings } = z
    .object({ settings: z.array(z.object({ variable: z.string(), value: z.string() })) })
    .parse(JSON.parse(text));
  expect(settings).toContainEqual(
    expect.objectContaining({ variable: 'HEADGATE_TOKEN', value: '(secret)' }),
  );
  expect(settings).toContainEqual(
    expect.objectContaining({ variable: 'HEADGATE_UPSTREAM_URL', value: watched.api.url }),
  );
});

test('a paused bucket keeps calls waiting until it is resumed', async () => {
  await watched.call('/domains');
  const list = buckets.parse(JSON.parse((await admin('/buckets')).text)).buckets;
  const read = encodeURIComponent(list.find(({ id }) => id.endsWith(':read'))?.id ?? '');
  const paused = await admin(`/buckets/${read}/pause`, 'POST');
  expect(JSON.parse(paused.text)).toMatchObject({ bucket: { paused: true } });

  const before = watched.api.seen.length;
  const held = watched.call('/domains');
  await expect.poll(async () => (await admin(`/buckets/${read}`)).text).toContain('"waiting":1');
  expect(watched.api.seen).toHaveLength(before);

  await admin(`/buckets/${read}/resume`, 'POST');
  expect((await held).status).toBe(200);
  expect(watched.api.seen).toHaveLength(before + 1);
  // Who changed what is in the log.
  const bucket = decodeURIComponent(read);
  for (const msg of ['bucket paused', 'bucket resumed']) {
    expect(watched.gateway.log.named(msg)).toContainEqual(
      expect.objectContaining({ level: 'info', bucket, address: '127.0.0.1' }),
    );
  }
});

test('a pause needs the token', async () => {
  const id = await firstBucket();
  const refused = await ask(`${watched.gateway.adminUrl}/buckets/${id}/pause`, { method: 'POST' });
  expect(refused.status).toBe(401);
  expect((await admin(`/buckets/${id}`)).text).not.toContain('"paused"');
});

test('metrics need no token and have two formats', async () => {
  const { adminUrl } = watched.gateway;
  const plain = await ask(`${adminUrl}/metrics`);
  expect(plain.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(plain.text).toMatch(/^headgate_calls_total\{method="GET".*caller="billing"\} 1$/m);
  const open = await ask(`${adminUrl}/metrics`, {
    headers: { Accept: 'application/openmetrics-text; version=1.0.0' },
  });
  expect(open.headers['content-type']).toMatch(/^application\/openmetrics-text/);
  expect(open.text.endsWith('# EOF\n')).toBe(true);
});

test('an unknown path is answered with where to look', async () => {
  const { status, text } = await admin('/nothing');
  expect(status).toBe(404);
  expect(text).toContain('/openapi.json');
});

test('watchers that left, and HEAD requests, do not count towards the limit of watchers', async () => {
  const url = `${watched.gateway.adminUrl}/events`;
  for (let i = 0; i < 20; i++) {
    const { status, headers } = await admin('/events', 'HEAD');
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/event-stream');
  }
  const leaving = new AbortController();
  const { signal } = leaving;
  const watchers = Array.from({ length: 16 }, () => fetch(url, { headers: AUTHORIZATION, signal }));
  for (const { status } of await Promise.all(watchers)) expect(status).toBe(200);
  const refused = await admin('/events');
  expect(refused.status).toBe(503);
  expect(refused.headers['retry-after']).toBe('10');
  leaving.abort();
  const statusOfOne = async (): Promise<number> => {
    const one = new AbortController();
    const { status } = await fetch(url, { headers: AUTHORIZATION, signal: one.signal });
    one.abort();
    return status;
  };
  await expect.poll(statusOfOne).toBe(200);
});
