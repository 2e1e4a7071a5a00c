import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { createAuthority, openAuthority } from '../src/certificates/authority.ts';
import { freePort, scratch, start, type Running } from './support/processes.ts';
import { median } from './support/statistics.ts';

/**
 * What interception costs the gateway's process, in processor time: for each call on a connection
 * that stays, and for each connection. It is compared with the same calls on the callers' listener,
 * in cleartext and with TLS, in turns.
 *
 *     node bench/interception.ts
 */

const ROUNDS = 5;
const CALLS = 1000;
const CONNECTIONS = 150;
const HOST = 'api.example';
const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

type Way = 'cleartext' | 'TLS' | 'interception';

const folder = scratch();
const running: Running[] = [];
const file = (name: string, text: string): string => {
  const path = join(folder.path, name);
  writeFileSync(path, text);
  return path;
};
const ca = createAuthority([HOST], Date.now());
const opened = openAuthority(ca, [HOST], Date.now());
if (opened.kind === 'bad') throw new Error(opened.problem);
const server = opened.authority.issue([HOST], Date.now(), 86_400_000);
const [caCert, caKey] = [file('ca.crt', ca.cert), file('ca.key', ca.key)];
const [cert, key] = [file('server.crt', server.cert), file('server.key', server.key)];

const api = createServer(server, (incoming, outgoing) => {
  const rates = {
    'x-ratelimit-limit': 1e9,
    'x-ratelimit-remaining': 1e9 - 1,
    'x-ratelimit-reset': 60,
  };
  incoming.resume().on('end', () => outgoing.writeHead(200, rates).end('{"ok":true}'));
});
api.listen(0, '127.0.0.1');
await once(api, 'listening');

async function gateway(port: number, settings: Record<string, string>): Promise<Running> {
  const bound = api.address();
  const apiPort = typeof bound === 'object' ? bound?.port : undefined;
  const env = {
    HEADGATE_PRESET: 'none',
    HEADGATE_UPSTREAM_URL: `https://${HOST}`,
    HEADGATE_UPSTREAM_ADDRESS: `127.0.0.1:${apiPort}`,
    HEADGATE_UPSTREAM_CA: caCert,
    HEADGATE_ADMIN_LISTEN: 'off',
    HEADGATE_LISTEN: `127.0.0.1:${port}`,
    ...settings,
  };
  const started = await start({ command: process.execPath, args: [MAIN, 'serve'], env, port });
  running.push(started);
  return started;
}

const ports = {
  cleartext: await freePort(),
  TLS: await freePort(),
  interception: await freePort(),
};
const plain = await gateway(ports.cleartext, {
  HEADGATE_INTERCEPT: HOST,
  HEADGATE_INTERCEPT_LISTEN: `127.0.0.1:${ports.interception}`,
  HEADGATE_INTERCEPT_CA_CERT: caCert,
  HEADGATE_INTERCEPT_CA_KEY: caKey,
});
const secured = await gateway(ports.TLS, { HEADGATE_TLS_CERT: cert, HEADGATE_TLS_KEY: key });
const processes: Record<Way, Running> = { cleartext: plain, TLS: secured, interception: plain };

/** Opens a connection on which requests can be sent. */
async function open(way: Way): Promise<Socket> {
  const socket = connectTcp(ports[way], '127.0.0.1');
  await once(socket, 'connect');
  if (way === 'cleartext') return socket;
  if (way === 'interception') {
    socket.write(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`);
    await once(socket, 'data');
  }
  const tls = connectTls({ socket, ca: ca.cert, servername: HOST });
  await once(tls, 'secureConnect');
  return tls;
}

function call(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({
      createConnection: () => socket,
      host: HOST,
      path: '/a',
      headers: { connection: 'keep-alive' },
    });
    sent.on('error', reject).on('response', (answer) => answer.resume().on('end', resolve));
    sent.end();
  });
}

async function calls(way: Way): Promise<number> {
  const socket = await open(way);
  await call(socket);
  const before = processes[way].cpuMs();
  for (let n = 0; n < CALLS; n++) await call(socket);
  const spentMs = processes[way].cpuMs() - before;
  socket.destroy();
  return (spentMs * 1000) / CALLS;
}

/** Less what the call on each connection costs, which {@link calls} measures. */
async function connections(way: Way, perCallUs: number): Promise<number> {
  const before = processes[way].cpuMs();
  for (let n = 0; n < CONNECTIONS; n++) {
    const socket = await open(way);
    await call(socket);
    socket.destroy();
  }
  return ((processes[way].cpuMs() - before) * 1000) / CONNECTIONS - perCallUs;
}

const ways: readonly Way[] = ['cleartext', 'TLS', 'interception'];
const perCall = new Map(ways.map((way) => [way, [] as number[]]));
const perConnection = new Map(ways.map((way) => [way, [] as number[]]));
try {
  for (const way of ways) await calls(way);
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ways) {
      const us = await calls(way);
      perCall.get(way)?.push(us);
      perConnection.get(way)?.push(await connections(way, us));
    }
  }
  for (const way of ways) {
    const [callUs, connectionUs] = [perCall, perConnection].map((of) => median(of.get(way) ?? []));
    console.log(
      `${way.padEnd(12)} ${callUs?.toFixed(0).padStart(5)} µs a call  ${connectionUs?.toFixed(0).padStart(6)} µs a connection`,
    );
  }
} finally {
  for (const each of running) await each.stop();
  api.closeAllConnections();
  api.close();
  folder.remove();
}
