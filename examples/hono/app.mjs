// A Hono application with two APIs behind Headgate, and a route of its own.
//
//   API_URL      the address of the API; default: the simulator's, http://127.0.0.1:8090
//   PORT         where the application listens; default: 3000
import { serve } from '@hono/node-server';
import { headgate } from 'headgate/hono';
import { Hono } from 'hono';

const { API_URL = 'http://127.0.0.1:8090', PORT = '3000' } = process.env;

const azion = headgate({ preset: 'azion', upstreamUrl: API_URL, maxWait: '45s' });
const other = headgate({ preset: 'none', upstreamUrl: API_URL, limit: '200/1m' });

const app = new Hono();
app.get('/', (c) => c.text('an application of your own'));
app.route('/azion', azion); // GET /azion/domains → GET /domains of the API
app.route('/other', other);

const server = serve({ fetch: app.fetch, port: Number(PORT) }, ({ port }) => {
  console.log(`listening on http://127.0.0.1:${port}`);
});

process.once('SIGTERM', () => {
  server.close(() => void Promise.all([azion.close(), other.close()]));
});
