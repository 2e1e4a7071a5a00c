import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { play, UNCOUNTED, type Fault } from './azion-faults.ts';
import { makeAzionV3 } from './azion-v3.ts';
import { makeAzionV4 } from './azion-v4.ts';
import type { AzionVersion } from './azion-version.ts';
import { renderHeaders, type Dialect } from './dialect.ts';
import { makeLimiter, type Limiter, type LimiterOptions, type Semantics } from './limiter.ts';

export interface AzionOptions {
  /** The port on 127.0.0.1; a free one by default. */
  readonly port?: number;
  /** The certificate and key with which it speaks TLS. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly semantics?: Semantics;
  /** By class; the recorded limits by default. */
  readonly limits?: Readonly<Record<string, LimiterOptions>>;
  readonly perAccount?: boolean;
  readonly dialect?: Dialect;
  /** Its clock, which its delays use as well; the host's by default. */
  readonly clock?: Clock;
  /** How far the API's own clock is ahead of that. */
  readonly skewMs?: number;
  readonly dateHeader?: boolean;
  /** Milliseconds before it answers. */
  readonly latencyMs?: () => number;
  /** Credentials that the API knows and answers with 403. */
  readonly forbidden?: readonly string[];
}

/** One call that reached the API. */
export interface SeenCall {
  /** On the API's own clock. */
  readonly atMs: number;
  readonly class: string;
  readonly method: string;
  /** The request target as it was received, with its query. */
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: string;
  readonly status: number;
  readonly counted: boolean;
}

/** A simulator of both versions of the API, after their documents and recordings, on one port. */
export interface Azion {
  /** The address of version 3, below whose `/v4` is version 4. */
  readonly url: string;
  /** The latest calls, oldest first; at most a hundred thousand. */
  readonly seen: readonly SeenCall[];
  /** The number of calls that it holds for its latency or a `delay:` fault. */
  readonly delayed: number;
  /** The number of 429s that it sent. */
  readonly throttled: number;
  /** The number of calls that it served and counted. */
  readonly operations: number;
  /** The next `count` calls meet this fault. */
  failNext(fault: Fault, count?: number): void;
  /** Spends `count` operations of a credential's budget, as another client of the API would. */
  consume(authorization: string, className: string, count: number): void;
  limiter(authorization: string, className: string): Limiter;
  close(): Promise<void>;
}

/**
 * Version 3: GET 80/min, other methods 20/min, purge 200/min, wildcard purge 2000/day (recorded in 2018).
 * Version 4: purge and GraphQL as documented. Its documents state no others, so they are those of version 3.
 */
export const RECORDED_LIMITS: Readonly<Record<string, LimiterOptions>> = {
  read: { limit: 80, periodMs: 60_000 },
  write: { limit: 20, periodMs: 60_000 },
  purge: { limit: 200, periodMs: 60_000 },
  'purge-wildcard': { limit: 2000, periodMs: 86_400_000 },
  'v4-read': { limit: 80, periodMs: 60_000 },
  'v4-write': { limit: 20, periodMs: 60_000 },
  'v4-graphql': { limit: 120, periodMs: 60_000 },
  'v4-purge': { limit: 200, periodMs: 60_000 },
  'v4-purge-wildcard': { limit: 2000, periodMs: 86_400_000 },
};

const MOST_SEEN = 100_000;
const MOST_LIMITERS = 200_000;
const V4 = '/v4';
const CREDENTIALS = { token: /^(?:token|bearer) \S+$/i, basic: /^basic \S+$/i };

/** Starts the API on 127.0.0.1. It checks in the API's order: 406, 401, 403, 429, the route. */
export async function startAzion(options: AzionOptions = {}): Promise<Azion> {
  const {
    semantics = 'sliding',
    limits = RECORDED_LIMITS,
    perAccount = false,
    dialect = {},
  } = options;
  const { clock, skewMs = 0, dateHeader = true, latencyMs, forbidden = [] } = options;
  const limiters = new Map<string, Limiter>();
  const faults: Fault[] = [];
  const seen: SeenCall[] = [];
  const scheme = options.tls === undefined ? 'http' : 'https';
  const v3 = makeAzionV3();
  const v4 = makeAzionV4();
  let delayed = 0;
  let throttled = 0;
  let operations = 0;
  const delay = (ms: number, run: () => void): void => {
    if (ms <= 0) return run();
    delayed++;
    (clock ?? systemClock).after(ms, () => {
      delayed--;
      run();
    });
  };
  const now = (): number =>
    (clock?.wallMs() ?? performance.timeOrigin + performance.now()) + skewMs;

  function limiter(authorization: string, className: string): Limiter {
    const key = `${perAccount ? '' : authorization.toLowerCase()} ${className}`;
    const known = limiters.get(key);
    if (known !== undefined) return known;
    if (limiters.size >= MOST_LIMITERS) limiters.clear();
    const made = makeLimiter(semantics, limits[className] ?? { limit: 80, periodMs: 60_000 });
    limiters.set(key, made);
    return made;
  }

  /** Refusals that the API does not count; they have no rate headers. */
  function gate(
    version: AzionVersion,
    path: string,
    { headers }: IncomingMessage,
  ): [number, string] | undefined {
    if (!version.accepts(headers.accept ?? '')) {
      return [406, 'Could not satisfy the request Accept header.'];
    }
    const credential = headers.authorization ?? '';
    if (!CREDENTIALS[version.credentialOf(path)].test(credential)) {
      return [401, 'Authentication credentials were not provided.'];
    }
    if (forbidden.includes(credential)) {
      return [403, 'You do not have permission to perform this action.'];
    }
    return undefined;
  }

  function handle(incoming: IncomingMessage, outgoing: ServerResponse, body: string): void {
    const { method = 'GET', url = '/', headers } = incoming;
    const origin = `${scheme}://${headers.host}`;
    const target = new URL(url, origin);
    const isV4 = target.pathname.startsWith(`${V4}/`);
    const version = isV4 ? v4 : v3;
    const path = isV4 ? target.pathname.slice(V4.length) : target.pathname;
    const className = version.classOf(method, path);
    const fault = header(headers['x-sim-fault']) ?? faults.shift();
    const at = now();
    const note = (status: number, counted: boolean): void => {
      if (status === 429) throttled++;
      if (counted) operations++;
      seen.push({
        atMs: at,
        class: className,
        method,
        url,
        headers,
        rawHeaders: incoming.rawHeaders,
        body,
        status,
        counted,
      });
      if (seen.length > MOST_SEEN) seen.splice(0, MOST_SEEN / 10);
    };
    const send = (
      status: number,
      extra: Record<string, string>,
      content: string | Buffer,
    ): void => {
      const bodiless = status === 204 || content.length === 0;
      outgoing.writeHead(status, {
        ...(bodiless
          ? {}
          : {
              'content-type': 'application/json',
              'content-length': String(Buffer.byteLength(content)),
            }),
        ...extra,
      });
      outgoing.end(bodiless || method === 'HEAD' ? undefined : content);
    };
    const date: Record<string, string> = dateHeader ? { date: new Date(at).toUTCString() } : {};
    outgoing.sendDate = false;

    const refused = gate(version, path, incoming);
    if (refused !== undefined) {
      note(refused[0], false);
      send(refused[0], date, JSON.stringify(version.errorBody(...refused)));
      return;
    }
    if (fault !== undefined && UNCOUNTED.has(fault.split(':')[0] ?? '')) {
      note(fault.startsWith('throttle') ? 429 : 0, false);
      play(fault, {
        incoming,
        outgoing,
        status: 200,
        headers: date,
        body: '',
        answer: () => undefined,
        delay,
      });
      return;
    }
    const verdict = limiter(headers.authorization ?? '', className).take(at);
    const rates = { ...date, ...renderHeaders(verdict, at, dialect) };
    if (!verdict.allowed) {
      note(429, false);
      const seconds = Math.ceil(Math.max(0, verdict.retryAtMs - at) / 1000);
      send(429, rates, JSON.stringify(version.errorBody(429, version.throttledDetail(seconds))));
      return;
    }
    const answer = version.route({ method, path, query: target.searchParams, body, origin });
    const content = answer.body === undefined ? '' : JSON.stringify(answer.body);
    note(answer.status, true);
    if (fault === undefined) {
      send(answer.status, rates, content);
      return;
    }
    play(fault, {
      incoming,
      outgoing,
      status: answer.status,
      headers: rates,
      body: content,
      delay,
      answer: (changes = {}) =>
        send(
          changes.status ?? answer.status,
          { ...rates, ...changes.headers },
          changes.body ?? content,
        ),
    });
  }

  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const fault = header(incoming.headers['x-sim-fault']);
    if (fault === 'reset-before-read') {
      incoming.socket.resetAndDestroy();
      return;
    }
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const answer = (): void => handle(incoming, outgoing, Buffer.concat(chunks).toString());
      delay(latencyMs?.() ?? 0, answer);
    });
  };
  const keepAliveTimeout = 30_000;
  const server =
    options.tls === undefined
      ? createServer({ keepAliveTimeout }, onRequest)
      : createTlsServer({ keepAliveTimeout, ...options.tls }, onRequest);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the API has no port');

  return {
    url: `${scheme}://127.0.0.1:${address.port}`,
    seen,
    get delayed() {
      return delayed;
    },
    get throttled() {
      return throttled;
    },
    get operations() {
      return operations;
    },
    failNext(fault, count = 1) {
      for (let i = 0; i < count; i++) faults.push(fault);
    },
    consume(authorization, className, count) {
      for (let i = 0; i < count; i++) limiter(authorization, className).take(now());
    },
    limiter,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
