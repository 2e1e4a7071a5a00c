import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { proxy } from 'hono/proxy';

/** What a colleague would write in an afternoon: every call handed on with hono/proxy and fetch. */
const [, , upstream = '', port = ''] = process.argv;
const app = new Hono();
app.all('*', (c) => {
  const { pathname, search } = new URL(c.req.url);
  return proxy(upstream + pathname + search, { raw: c.req.raw, headers: c.req.header() });
});
serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(port) });
