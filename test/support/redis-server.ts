import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pathOf } from './tools.ts';

/** The servers that tests can start: Debian's, and versions at both ends of what is supported. */
export type RedisProgram = 'redis-server' | 'redis-6' | 'valkey-9';

export interface RedisServerOptions {
  /** Debian's `redis-server` by default. */
  readonly program?: RedisProgram;
  /** The port to listen on; a free one by default. */
  readonly port?: number;
  /** The highest free port that may be chosen. */
  readonly maxPort?: number;
  /** Further arguments, such as `--cluster-enabled yes`. */
  readonly args?: readonly string[];
  /** The password that `args` set, for the test's own connection. */
  readonly password?: string;
  /** The configuration of a Sentinel, to start one in place of a server. */
  readonly sentinel?: string;
}

/** A real server in a process of its own, with an empty directory and no persistence. */
export interface RedisServer {
  readonly port: number;
  readonly pid: number;
  readonly url: string;
  /** A connection for the test's own commands, closed with the server. */
  readonly client: Redis;
  signal(signal: NodeJS.Signals): void;
  /** Kills the process and waits until it is gone. */
  kill(): Promise<void>;
  /** Ends the process if it runs, closes the client and removes the directory. */
  stop(): Promise<void>;
}

const START_TRIES = 5;
const START_MS = 120_000;

/** Starts a server, and checks that the process that answers on the port is this one. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  for (let i = 1; ; i++) {
    try {
      return await startOnce(options.port ?? (await freePort(options.maxPort)), options);
    } catch (error) {
      // Another process may have taken the port since it was free.
      if (options.port !== undefined || i === START_TRIES) throw error;
    }
  }
}

async function startOnce(port: number, options: RedisServerOptions): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'headgate-redis-'));
  const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory];
  const quiet = ['--save', '', '--appendonly', 'no', '--loglevel', 'warning'];
  let args = [...common, ...quiet, ...(options.args ?? [])];
  if (options.sentinel !== undefined) {
    const file = join(directory, 'sentinel.conf');
    await writeFile(file, options.sentinel);
    args = [file, '--sentinel', ...common];
  }
  const { program = 'redis-server' } = options;
  const child = spawn(pathOf(program), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const printed: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      printed.push(chunk.toString());
      if (printed.length > 100) printed.shift();
    });
  }
  const client = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    ...(options.password === undefined ? {} : { password: options.password }),
    maxRetriesPerRequest: 0,
    // Far more than a busy machine needs.
    connectTimeout: START_MS,
    retryStrategy: (times) => Math.min(times * 20, 200),
  });
  client.on('error', () => undefined);
  const stop = async (): Promise<void> => {
    client.disconnect();
    await end(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await answers(client, child);
  } catch (cause) {
    await stop();
    throw new Error(`${program} did not start on port ${port}: ${printed.join('')}`, { cause });
  }
  return {
    port,
    pid: child.pid ?? 0,
    url: `redis://127.0.0.1:${port}`,
    client,
    signal: (signal) => void child.kill(signal),
    kill: () => end(child),
    stop,
  };
}

/** Waits until the server answers; rejects when another process does. */
async function answers(client: Redis, child: ChildProcess): Promise<void> {
  const giveUpAt = performance.now() + START_MS;
  for (;;) {
    try {
      const info = await client.info('server');
      const pid = Number(/process_id:(\d+)/.exec(info)?.[1]);
      if (pid !== child.pid) throw new Error(`process ${pid} answers, expected ${child.pid}`);
      return;
    } catch (error) {
      if (child.exitCode !== null || performance.now() > giveUpAt) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

/** Below the ports that the operating system gives to connections and to servers that ask for any. */
const PORTS = { least: 10_000, most: 32_000 };

/**
 * A port that is free, of at most `max`. The operating system gives it to no other process, so it stays
 * free also while a server is away, unless another test picks the same by chance.
 */
export async function freePort(max = PORTS.most): Promise<number> {
  for (;;) {
    const port = PORTS.least + Math.floor(Math.random() * (max - PORTS.least));
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
