import type { Socket } from 'node:net';
import { messageOf } from '../util/message-of.ts';
import {
  openWay,
  placeOf,
  STEP_TIMEOUT_MS,
  Unavailable,
  withTimeout,
  type Report,
  type Step,
} from './way.ts';

interface Host {
  readonly host: string;
  readonly port: number;
}

/** The Redis that the settings name. */
export interface RedisTarget {
  readonly address: {
    readonly topology:
      | { readonly kind: 'single'; readonly at: Host }
      | { readonly kind: 'sentinel'; readonly sentinels: readonly Host[]; readonly master: string }
      | { readonly kind: 'cluster'; readonly nodes: readonly Host[] };
    readonly db: number;
    readonly tls: boolean;
    readonly username: string | undefined;
    readonly password: string | undefined;
  };
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** How long each step may take. */
  readonly stepTimeoutMs?: number;
}

/**
 * Tries the way to Redis step by step, with connections of its own, and reports each step: the
 * client's own errors often name no cause. Resolves to whether Redis can be used.
 */
export async function diagnoseRedis(target: RedisTarget, report: Report): Promise<boolean> {
  const { topology } = target.address;
  switch (topology.kind) {
    case 'single':
      return tryPrimary(target, topology.at, report);
    case 'sentinel':
      for (const sentinel of topology.sentinels) {
        const master = await askSentinel(target, sentinel, topology.master, report);
        if (master !== undefined) return tryPrimary(target, master, report);
      }
      return false;
    case 'cluster':
      for (const node of topology.nodes) if (await tryNode(target, node, report)) return true;
      return false;
    default:
      return topology satisfies never;
  }
}

/** Runs `talk` with a server. Reports its failure as one of `talk`'s latest step. */
async function withServer<T>(
  { address, ca, cert, key, stepTimeoutMs = STEP_TIMEOUT_MS }: RedisTarget,
  host: Host,
  report: Report,
  talk: (conversation: Conversation) => Promise<T>,
): Promise<T | undefined> {
  const tls = address.tls ? { ca, cert, key, caSetting: 'HEADGATE_REDIS_CA' } : undefined;
  const socket = await openWay({ ...host, tls }, report, stepTimeoutMs);
  if (socket === undefined) return undefined;
  const conversation = new Conversation(socket, placeOf(host), stepTimeoutMs, report);
  try {
    return await talk(conversation);
  } catch (error) {
    conversation.failed(error);
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function tryPrimary(target: RedisTarget, host: Host, report: Report): Promise<boolean> {
  const { db } = target.address;
  const ok = await withServer(target, host, report, async (server) => {
    await logIn(server, target);
    if (db !== 0) await server.expectOk('database', ['SELECT', String(db)], `database ${db}`);
    const info = await server.ask('role', ['INFO', 'replication']);
    // It may become one by a failover.
    if (/^role:slave/m.test(info)) {
      throw new Unavailable('expected a primary, got a replica: it does not write');
    }
    server.ok('primary');
    return true;
  });
  return ok ?? false;
}

async function tryNode(target: RedisTarget, host: Host, report: Report): Promise<boolean> {
  const ok = await withServer(target, host, report, async (server) => {
    await logIn(server, target);
    const slots = await server.ask('topology', ['CLUSTER', 'SLOTS']);
    if (slots.startsWith('*0')) throw new Error('expected a cluster with slots, got one without');
    server.ok('cluster');
    return true;
  });
  return ok ?? false;
}

async function askSentinel(
  target: RedisTarget,
  host: Host,
  master: string,
  report: Report,
): Promise<Host | undefined> {
  return withServer(target, host, report, async (server) => {
    const reply = await server.ask('topology', ['SENTINEL', 'get-master-addr-by-name', master]);
    const [, found, port] = /^\*2\r\n\$\d+\r\n(.+)\r\n\$\d+\r\n(\d+)\r\n/.exec(reply) ?? [];
    if (found === undefined) {
      throw new Error(`expected the address of ${master}, which it does not know`);
    }
    server.ok(`${master} is at ${found}:${port}`);
    return { host: found, port: Number(port) };
  });
}

async function logIn(server: Conversation, { address }: RedisTarget): Promise<void> {
  const { username, password } = address;
  if (password !== undefined) {
    const user = username === undefined ? [] : [username];
    await server.expectOk('login', ['AUTH', ...user, password], username ?? '');
  }
  const pong = await server.ask(password === undefined ? 'login' : 'protocol', ['PING']);
  if (!pong.startsWith('+PONG')) throw new Error(`expected PONG, got ${pong.trim()}`);
  server.ok('');
}

/** More than any reply that is read here. */
const MAX_REPLY = 64 * 1024;
/** The lines of the reply that names a master. The replies with more need not be read further. */
const MOST_LINES = 5;

/** Error replies of a server that can serve later. */
const TRANSIENT = /^-(?:LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|ERR max number of clients)/;

/** Commands and replies in RESP, one at a time. */
class Conversation {
  readonly #socket: Socket;
  readonly #at: string;
  readonly #timeoutMs: number;
  readonly #report: Report;
  #step: Step = 'protocol';

  constructor(socket: Socket, at: string, timeoutMs: number, report: Report) {
    this.#socket = socket;
    this.#at = at;
    this.#timeoutMs = timeoutMs;
    this.#report = report;
  }

  ok(detail: string): void {
    this.#report({ kind: 'ok', at: this.#at, step: this.#step, detail });
  }

  failed(error: unknown): void {
    const kind = error instanceof Unavailable ? 'unavailable' : 'refused';
    const reason = messageOf(error);
    this.#report({ kind, at: this.#at, step: this.#step, reason });
  }

  async expectOk(step: Step, words: readonly string[], detail: string): Promise<void> {
    const reply = await this.ask(step, words);
    if (!reply.startsWith('+OK')) throw new Error(`expected OK, got ${reply.trim()}`);
    this.ok(detail);
  }

  /** Sends a command. Resolves to its reply; rejects with the text of an error reply. */
  async ask(step: Step, words: readonly string[]): Promise<string> {
    this.#step = step;
    const socket = this.#socket;
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    const received = new Promise<string>((resolve, reject) => {
      let reply = '';
      socket.on('data', onData);
      socket.once('close', onClose);

      function onData(bytes: Buffer): void {
        reply += bytes.toString('latin1');
        if (!isComplete(reply) && reply.length < MAX_REPLY) return;
        socket.off('data', onData);
        socket.off('close', onClose);
        resolve(reply);
      }
      function onClose(): void {
        reject(new Unavailable('the server closed the connection unasked; it may expect TLS'));
      }
    });
    socket.write(`*${words.length}\r\n${parts.join('')}`);
    const reply = await withTimeout(received, this.#timeoutMs).catch((error: unknown) => {
      this.#step = 'protocol';
      throw error;
    });
    if (TRANSIENT.test(reply)) throw new Unavailable(reply.slice(1).trim());
    if (reply.startsWith('-')) throw new Error(reply.slice(1).trim());
    if (/^[+:$*]/.test(reply)) return reply;
    this.#step = 'protocol';
    // TLS answers cleartext with an alert.
    if (reply.startsWith('\u{15}')) {
      throw new Error('expected the protocol of Redis, got TLS: the URL must begin with rediss');
    }
    const [line = ''] = reply.split('\r\n');
    throw new Error(`expected the protocol of Redis, got: ${line.slice(0, 60)}`);
  }
}

/** Whether a reply is there as far as it is read; also anything that is no reply of Redis. */
function isComplete(reply: string): boolean {
  const lines = reply.split('\r\n').length - 1;
  if (reply.startsWith('$')) {
    const head = reply.indexOf('\r\n');
    const length = Number(reply.slice(1, head));
    return head > 0 && (length < 0 || reply.length >= head + 2 + length + 2);
  }
  if (reply.startsWith('*')) return lines >= MOST_LINES || /^\*(?:-1|0)\r\n/.test(reply);
  return lines > 0 || !/^[+:-]/.test(reply);
}
