import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, start, type Running } from './processes.ts';

/** A server that is up, and where. */
export interface Server extends Running {
  readonly name: string;
  readonly url: string;
}

const NODE = process.execPath;
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const HONO = fileURLToPath(new URL('../peers/hono-proxy.ts', import.meta.url));
const RELAY = fileURLToPath(new URL('../peers/relay.ts', import.meta.url));
const UNDICI = fileURLToPath(new URL('../peers/undici-proxy.ts', import.meta.url));

/** The answer of the API: 280 bytes of JSON. */
const BODY = JSON.stringify({
  count: 1,
  total_pages: 1,
  schema_version: 3,
  links: { previous: null, next: null },
  results: [{ id: 1, name: 'x'.repeat(165) }],
});

/** nginx as the API: it costs little, answers the same, and reports a limit that never ends. */
export async function startUpstream(folder: string): Promise<Server> {
  const port = await freePort();
  const rates = [
    'add_header X-RateLimit-Limit 1000000000 always;',
    'add_header X-RateLimit-Remaining 999999999 always;',
    'add_header X-RateLimit-Reset 60 always;',
  ].join(' ');
  const server = `server { listen 127.0.0.1:${port} reuseport backlog=4096; location / {
    default_type application/json; ${rates} return 200 '${BODY}'; } }`;
  return nginx('upstream', folder, port, server);
}

/** The floor: what a proxy in C costs that does nothing but pass on, with keep-alive. */
export async function startNginxProxy(folder: string, upstream: string): Promise<Server> {
  const port = await freePort();
  const server = `upstream api { server ${new URL(upstream).host}; keepalive 128; }
    server { listen 127.0.0.1:${port} backlog=4096; location / {
    proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ''; } }`;
  return nginx('nginx', folder, port, server);
}

export async function startHaproxy(folder: string, upstream: string): Promise<Server> {
  const port = await freePort();
  const config = `
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend api
backend api
  server api ${new URL(upstream).host} maxconn 128
`;
  const path = join(folder, 'haproxy.cfg');
  writeFileSync(path, config);
  return named(
    'haproxy',
    port,
    await start({ command: 'haproxy', args: ['-db', '-f', path], port }),
  );
}

export async function startHonoProxy(upstream: string): Promise<Server> {
  const port = await freePort();
  return named(
    'hono/proxy',
    port,
    await start({ command: NODE, args: [HONO, upstream, String(port)], port }),
  );
}

export async function startRelay(upstream: string): Promise<Server> {
  const port = await freePort();
  const args = [RELAY, upstream, String(port)];
  return named('relay', port, await start({ command: NODE, args, port }));
}

/** With `redisUrl`, it counts each call in Redis before it passes it on. */
export async function startUndiciProxy(upstream: string, redisUrl?: string): Promise<Server> {
  const port = await freePort();
  const args = [UNDICI, upstream, String(port), ...(redisUrl === undefined ? [] : [redisUrl])];
  const name = redisUrl === undefined ? 'undici dispatch' : 'undici dispatch and INCR';
  return named(name, port, await start({ command: NODE, args, port }));
}

/** Headgate as users run it: logs and metrics on. `main` is that of this checkout unless given. */
export async function startHeadgate(
  name: string,
  upstream: string,
  env: Readonly<Record<string, string>> = {},
  main = MAIN,
): Promise<Server> {
  const port = await freePort();
  const running = await start({
    command: NODE,
    args: [main, 'serve'],
    port,
    env: {
      HEADGATE_UPSTREAM_URL: upstream,
      HEADGATE_DRAIN_DELAY: '0',
      HEADGATE_LISTEN: `127.0.0.1:${port}`,
      HEADGATE_ADMIN_LISTEN: '127.0.0.1:0',
      ...env,
    },
  });
  return named(name, port, running);
}

export async function startRedis(folder: string): Promise<Server> {
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder];
  return named('redis', port, await start({ command: 'redis-server', args, port }));
}

async function nginx(name: string, folder: string, port: number, server: string): Promise<Server> {
  const own = join(folder, `${name}.conf`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${name}-${kind};`)
    .join(' ');
  writeFileSync(
    own,
    `worker_processes 1; pid ${folder}/${name}.pid; error_log stderr error; daemon off;
    events { worker_connections 4096; }
    http { access_log off; keepalive_requests 100000000; ${temporary} ${server} }`,
  );
  return named(
    name,
    port,
    await start({ command: 'nginx', args: ['-p', folder, '-c', own], port }),
  );
}

function named(name: string, port: number, running: Running): Server {
  return { ...running, name, url: `http://127.0.0.1:${port}` };
}
