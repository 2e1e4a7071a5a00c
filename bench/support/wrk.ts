import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { median, sum } from './statistics.ts';

/** What one run of wrk saw. */
export interface Load {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that were not 2xx or 3xx, and connections that broke. */
  readonly errors: number;
}

export interface LoadOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
}

const run = promisify(execFile);
const UNIT_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

/** Closed-loop load: each connection asks again as soon as it is answered. */
export async function wrk({ url, connections, seconds }: LoadOptions): Promise<Load> {
  const { stdout } = await run('wrk', [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    '-H',
    'Authorization: token bench',
    '-H',
    'Accept: application/json',
    url,
  ]);
  return {
    requests: Number(part(stdout, /(\d+) requests in/)),
    perSecond: Number(part(stdout, /Requests\/sec:\s+([\d.]+)/)),
    p50Ms: milliseconds(part(stdout, /^\s+50%\s+(\S+)/m)),
    p99Ms: milliseconds(part(stdout, /^\s+99%\s+(\S+)/m)),
    errors:
      Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0) +
      sum([...(/Socket errors:(.*)/.exec(stdout)?.[1] ?? '').matchAll(/\d+/g)].map(Number)),
  };
}

/**
 * The same at several servers at once, `connections` being dealt out among them. The times are the
 * middle one of their medians, and the worst of their 99th percentiles.
 */
export async function wrkAtAll(
  urls: readonly string[],
  load: Omit<LoadOptions, 'url'>,
): Promise<Load> {
  const { connections, seconds } = load;
  const shares = urls.map((url, i) => {
    const rest = i < connections % urls.length ? 1 : 0;
    return { url, connections: Math.floor(connections / urls.length) + rest, seconds };
  });
  const loads = await Promise.all(shares.filter((share) => share.connections > 0).map(wrk));
  return {
    requests: sum(loads.map(({ requests }) => requests)),
    perSecond: sum(loads.map(({ perSecond }) => perSecond)),
    p50Ms: median(loads.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...loads.map(({ p99Ms }) => p99Ms)),
    errors: sum(loads.map(({ errors }) => errors)),
  };
}

function part(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`expected ${pattern} in what wrk says, got:\n${text}`);
  return found;
}

function milliseconds(text: string): number {
  const [, amount = '', unit = ''] = /^([\d.]+)([a-z]+)$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (unitMs === undefined) throw new Error(`expected a time from wrk, got ${text}`);
  return Number(amount) * unitMs;
}
