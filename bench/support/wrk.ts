import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

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
    p50Ms: milliseconds(part(stdout, /50%\s+(\S+)/)),
    p99Ms: milliseconds(part(stdout, /99%\s+(\S+)/)),
    errors:
      Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0) +
      [...(/Socket errors:(.*)/.exec(stdout)?.[1] ?? '').matchAll(/\d+/g)].reduce(
        (total, [count]) => total + Number(count),
        0,
      ),
  };
}

function part(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`expected ${pattern} in what wrk says, got:\n${text}`);
  return found;
}

function milliseconds(text: string): number {
  const [, amount = '', unit = ''] = /^([\d.]+)([a-z]+)$/.exec(text) ?? [];
  return Number(amount) * (UNIT_MS[unit] ?? Number.NaN);
}
