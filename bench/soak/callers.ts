import { type Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';

/** A call or connection that has not ended by then is closed by its caller. */
const PATIENCE_MS = 60_000;

export interface Target {
  readonly port: number;
}

/** What became of the calls of one kind. */
export class Tally {
  started = 0;
  /** Calls that the caller ended, or whose connection broke. */
  broken = 0;
  readonly statuses = new Map<number, number>();
  readonly #durationsMs: number[] = [];

  answered(status: number, ms: number): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    if (this.#durationsMs.length < 1_000_000) this.#durationsMs.push(ms);
  }

  get durationsMs(): readonly number[] {
    return this.#durationsMs;
  }

  get text(): string {
    const statuses = [...this.statuses].toSorted(([a], [b]) => a - b);
    const parts = statuses.map(([status, count]) => `${count} with ${status}`);
    return [`${this.started} started`, ...parts, `${this.broken} broken`].join(', ');
  }
}

export interface CallOptions {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** The address of this host from which the caller connects. */
  readonly from?: string;
  /** Absent: a connection for this call alone. */
  readonly agent?: Agent;
  /** The caller disconnects after this time, in milliseconds. */
  readonly abortAfterMs?: number;
  /** The caller reads a piece, and waits for this long before the next one, in milliseconds. */
  readonly readEveryMs?: number;
}

/** Makes a call and resolves when it has ended, however it ends. */
export function call(target: Target, tally: Tally, options: CallOptions = {}): Promise<void> {
  const { path = '/', method = 'GET', headers = {}, body, from = '127.0.0.1' } = options;
  const { agent = false, abortAfterMs = PATIENCE_MS, readEveryMs } = options;
  tally.started++;
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const outgoing = request({
      host: '127.0.0.1',
      port: target.port,
      localAddress: from,
      agent,
      path,
      method,
      headers,
    });
    const timer = setTimeout(() => outgoing.destroy(), abortAfterMs);
    let hasAnswer = false;
    const end = (): void => {
      clearTimeout(timer);
      resolve();
    };
    outgoing.on('response', (incoming) => {
      hasAnswer = true;
      incoming.once('close', () => {
        if (incoming.complete) {
          tally.answered(incoming.statusCode ?? 0, performance.now() - startedAt);
        } else tally.broken++;
        end();
      });
      incoming.on('error', () => undefined);
      incoming.on('data', () => {
        if (readEveryMs === undefined) return;
        incoming.pause();
        setTimeout(() => incoming.resume(), readEveryMs);
      });
    });
    outgoing.on('error', () => undefined);
    outgoing.once('close', () => {
      if (hasAnswer) return;
      tally.broken++;
      end();
    });
    outgoing.end(body);
  });
}

/** Opens a connection, on which the caller writes what it likes. It ends by itself. */
export function open({ port }: Target, from: string, patienceMs = PATIENCE_MS): Socket {
  const socket = connect({ host: '127.0.0.1', port, localAddress: from });
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  socket.on('error', () => undefined);
  socket.once('close', () => clearTimeout(timer));
  return socket;
}

/** Uploads `bytes` at `bytesPerSecond`. Resolves when the connection has ended. */
export function uploadSlowly(
  target: Target,
  tally: Tally,
  options: { readonly from: string; readonly bytes: number; readonly bytesPerSecond: number },
): Promise<void> {
  const { from, bytes, bytesPerSecond } = options;
  tally.started++;
  const startedAt = performance.now();
  const socket = open(target, from);
  socket.write(
    `PUT /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`,
  );
  let left = bytes;
  const piece = Math.max(1, Math.floor(bytesPerSecond / 2));
  const writer = setInterval(() => {
    const next = Math.min(piece, left);
    left -= next;
    if (next > 0 && socket.writable) socket.write(Buffer.alloc(next));
  }, 500);
  let head = '';
  socket.on('data', (chunk: Buffer) => {
    if (head.length < 20) head += chunk.toString('latin1', 0, 20);
  });
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearInterval(writer);
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
      if (Number.isNaN(status)) tally.broken++;
      else tally.answered(status, performance.now() - startedAt);
      resolve();
    });
  });
}
