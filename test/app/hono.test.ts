import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { secureHeaders } from 'hono/secure-headers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { headgate, type HeadgateApp, type HeadgateSettings } from '../../src/hono.ts';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { CapturedLog } from '../support/captured-log.ts';

/** Tests of `headgate/hono`: the gateway as a route of an application. */

type Answering = Parameters<typeof startApi>[0];

async function api(answer: Answering): Promise<Api> {
  const started = await startApi(answer);
  onTestFinished(() => started.close());
  return started;
}

/** Makes the gateway for a route, and its log. */
function route(settings: HeadgateSettings): { app: HeadgateApp; log: CapturedLog } {
  const log = new CapturedLog();
  const app = headgate(settings, { writeLog: (line) => log.write(line) });
  onTestFinished(() => app.close());
  return { app, log };
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

function serve(app: Hono): Promise<string> {
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  return listen(createServer((incoming, outgoing) => void listener(incoming, outgoing)));
}

describe('headgate() as a route', () => {
  test('sends requests below it to the API, holds those that the API throttles, and logs each', async () => {
    let refusals = 1;
    const { url, seen } = await api((_incoming, outgoing) => {
      if (refusals-- > 0) outgoing.writeHead(429, { 'retry-after': '1' });
      outgoing.end('from the API');
    });
    const { app, log } = route({
      preset: 'none',
      upstreamUrl: `${url}/base`,
      token: 'a-token',
      open: true,
    });
    const own = new Hono();
    own.get('/', (c) => c.text('of the application'));
    own.route('/azion', app);
    const address = await serve(own);
    expect((await ask(`${address}/`)).text).toBe('of the application');
    const body = '{"name":"x"}';
    const answer = await ask(`${address}/azion/items?page=2`, { method: 'POST', body });
    expect(answer).toMatchObject({ status: 200, text: 'from the API' });
    expect(seen.map(({ method, url: sent }) => `${method} ${sent}`)).toEqual([
      'POST /base/items?page=2',
      'POST /base/items?page=2',
    ]);
    expect(seen[1]?.headers).toMatchObject({ authorization: 'token a-token' });
    expect(await log.wait('call', 1)).toMatchObject([
      { method: 'POST', path: '/items', status: 200, attempts: 2, bytesIn: body.length },
    ]);
    expect((await ask(`${address}/azion`)).status).toBe(200);
    expect(seen[2]?.url).toBe('/base');
    expect((await ask(`${address}/azion/x`, { method: 'HEAD' })).status).toBe(200);
    expect((await ask(`${address}/other`)).status).toBe(404);
    expect(await log.wait('call', 3)).toHaveLength(3);
  });

  test('takes a path with parameters, below which links in answers lead', async () => {
    const { url, seen } = await api((_incoming, outgoing) => {
      outgoing.writeHead(201, { location: '/items/7' });
      outgoing.end();
    });
    const { app } = route({ preset: 'none', upstreamUrl: url });
    const own = new Hono();
    own.route('/:tenant/api', app);
    const address = await serve(own);
    const { headers } = await ask(`${address}/blue/api/items`);
    expect(headers.location).toBe('/blue/api/items/7');
    expect(seen[0]?.url).toBe('/items');
  });

  test('passes bytes through middleware that would change an answer', async () => {
    const text = 'x'.repeat(100_000);
    const { url } = await api((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/plain', 'content-length': text.length });
      outgoing.write(text.slice(0, 50_000));
      setImmediate(() => outgoing.end(text.slice(50_000)));
    });
    const { app } = route({ preset: 'none', upstreamUrl: url });
    const own = new Hono();
    own.use(compress(), secureHeaders());
    own.use(async (c, next) => {
      await next();
      c.header('x-added', 'later');
    });
    own.route('/api', app);
    const address = await serve(own);
    const answer = await ask(`${address}/api/text`, { headers: { 'accept-encoding': 'gzip' } });
    expect(answer).toMatchObject({ status: 200, complete: true, text });
    expect(answer.headers['content-encoding']).toBeUndefined();
  });

  test('breaks the connection when an answer breaks off: it never looks whole', async () => {
    const { url } = await api((_incoming, outgoing) => {
      outgoing.writeHead(200);
      outgoing.write('half', () => outgoing.destroy());
    });
    const { app, log } = route({ preset: 'none', upstreamUrl: url });
    const own = new Hono();
    own.route('/api', app);
    const address = await serve(own);
    const answer = await ask(`${address}/api/a`).catch(() => undefined);
    expect(answer?.complete ?? false).toBe(false);
    expect(await log.wait('call', 1)).toHaveLength(1);
  });

  test('refuses a request whose body a middleware has read, and says so in the log', async () => {
    const { url, seen } = await api((_incoming, outgoing) => outgoing.end());
    const { app, log } = route({ preset: 'none', upstreamUrl: url });
    const own = new Hono();
    own.use(async (c, next) => {
      await c.req.text();
      await next();
    });
    own.route('/api', app);
    const address = await serve(own);
    const answer = await ask(`${address}/api/a`, { method: 'POST', body: 'read before' });
    expect(answer).toMatchObject({ status: 500, headers: { 'headgate-error': 'internal' } });
    expect(seen).toEqual([]);
    expect(JSON.stringify(await log.first('internal failure'))).toContain('has read the body');
    expect(await log.first('call')).toMatchObject({ status: 500, code: 'internal' });
  });

  test('serves several APIs below it', async () => {
    const answer: Answering = (_incoming, outgoing) => outgoing.end();
    const [one, two] = [await api(answer), await api(answer)];
    const { app, log } = route({
      apis: {
        one: { upstreamUrl: one.url, match: { path: '/one/**' } },
        two: { upstreamUrl: two.url },
      },
    });
    const own = new Hono();
    own.route('/gate', app);
    const address = await serve(own);
    await ask(`${address}/gate/one/a`);
    await ask(`${address}/gate/b`);
    expect([one.seen[0]?.url, two.seen[0]?.url]).toEqual(['/a', '/b']);
    expect(await log.wait('call', 2)).toMatchObject([{ api: 'one' }, { api: 'two' }]);
  });
});

describe('headgate() refuses', () => {
  test.each<[HeadgateSettings, RegExp]>([
    [{ preset: 'none' }, /HEADGATE_UPSTREAM_URL: expected an http/],
    [{ preset: 'azion', maxWait: 'soon' }, /headgate\(\):1: maxWait: expected a duration/],
    [{ preset: 'azion', token: 'a-token' }, /^token: expected callerKeys or open: true as well/m],
    [{ preset: 'azion', classes: [{ name: 'a b' }] }, /classes\[0\]\.name: expected at most 64/],
  ])('the settings %j', (settings, problem) => {
    expect(() => headgate(settings)).toThrow(problem);
  });

  test('settings of a listener', () => {
    const settings: object = { preset: 'azion', listen: '127.0.0.1:1' };
    expect(() => headgate(settings)).toThrow(/^listen: expected it at the application's server/m);
  });

  test('a server that is not that of Node', async () => {
    const { app } = route({ preset: 'azion' });
    app.onError((error, c) => c.text(error.message, 500));
    const answer = await app.request('/');
    expect(await answer.text()).toMatch(
      /^headgate\/hono: expected a request of @hono\/node-server/,
    );
  });
});
