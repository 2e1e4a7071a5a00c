import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { RawSocket } from './raw-socket.ts';
import { freePort } from './redis-server.ts';
import { until } from './setup.ts';
import { Spawned } from './spawned.ts';
import { pathOf } from './tools.ts';

export interface HaproxyOptions {
  readonly mode: 'http' | 'tcp';
  /** Where calls are sent. */
  readonly to: { readonly port: number; readonly options?: string };
  /** Further lines of the backend, such as `option httpchk`. */
  readonly backend?: readonly string[];
}

export interface Haproxy {
  readonly url: string;
  /** The last check of the server in words of HAProxy, such as `L7OK`; empty before the first. */
  checked(): Promise<{ readonly status: string; readonly code: string }>;
}

const START_TRIES = 5;

/** Starts a real HAProxy in front of one server, for one test. */
export async function startHaproxy(options: HaproxyOptions): Promise<Haproxy> {
  for (let i = 1; ; i++) {
    const port = await freePort();
    const started = await startOn(port, options);
    if (started !== undefined) return started;
    // Another process may have taken the port since it was free.
    if (i === START_TRIES) throw new Error('haproxy did not start');
  }
}

async function startOn(port: number, options: HaproxyOptions): Promise<Haproxy | undefined> {
  const { mode, to, backend = [] } = options;
  const directory = await mkdtemp(join(tmpdir(), 'headgate-haproxy-'));
  const stats = join(directory, 'stats');
  const file = join(directory, 'haproxy.cfg');
  const lines = [
    'global',
    ' maxconn 100',
    ` stats socket ${stats}`,
    'defaults',
    ` mode ${mode}`,
    ' timeout connect 1m',
    ' timeout client 1m',
    ' timeout server 1m',
    ' timeout check 1m',
    'frontend callers',
    ` bind 127.0.0.1:${port}`,
    ' default_backend gateways',
    'backend gateways',
    ...backend.map((line) => ` ${line}`),
    ` server gateway 127.0.0.1:${to.port} ${to.options ?? ''}`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  const haproxy = new Spawned(pathOf('haproxy'), ['-f', file, '-db']);
  onTestFinished(async () => {
    await haproxy.stop();
    await rm(directory, { recursive: true, force: true });
  });
  let hasEnded = false;
  void haproxy.exited().then(() => (hasEnded = true));
  await until('haproxy listens', async () => hasEnded || (await isOpen(port)));
  if (hasEnded) return undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    async checked() {
      const [names = '', ...rows] = (await command(stats, 'show stat')).split('\n');
      const server = rows.find((row) => row.startsWith('gateways,gateway,'))?.split(',') ?? [];
      const columns = names.replace('# ', '').split(',');
      const at = (name: string): string => server[columns.indexOf(name)] ?? '';
      return { status: at('check_status').replace('* ', ''), code: at('check_code') };
    },
  };
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** The answer to a command on HAProxy's own socket. */
async function command(path: string, line: string): Promise<string> {
  const raw = new RawSocket(connect({ path }));
  raw.write(`${line}\n`);
  await raw.end();
  return raw.received;
}
