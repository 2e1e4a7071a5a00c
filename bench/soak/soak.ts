import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { startRedis, type RedisServer } from '../../test/support/redis-server.ts';
import { freePort, pause, start, type Running } from '../support/processes.ts';
import { median, quantile } from '../support/statistics.ts';
import { startStandIn } from './api.ts';
import { ATTACKS } from './attacks.ts';
import { call, Tally, type Target } from './callers.ts';
import { startChurn } from './churn.ts';

/**
 * `npm run soak -- [--minutes 30] [--heap 512] [--attacks]`: a gateway with Redis under a steady
 * load whose callers, credentials and routes change all the time, while Redis is killed every two
 * minutes. Prints its memory, files, buckets and keys, and exits with 1 unless they are flat in the
 * second half. With `--attacks`, every attack goes on as well, and only the bounds are judged.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    /** Megabytes of heap that the gateway's process may use. */
    heap: { type: 'string', default: '512' },
    attacks: { type: 'boolean', default: false },
  },
});

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const SAMPLE_EVERY_MS = 5000;
const REDIS_LIFE_MS = 120_000;
const REDIS_AWAY_MS = 5000;
/** An ordinary call that takes longer counts as not served. */
const PROBE_EVERY_MS = 250;
/** How much the last quarter's median may exceed that of the quarter before. */
const MAX_GROWTH = 1.1;

interface Sample {
  readonly rssMb: number;
  readonly heapMb: number;
  readonly files: number;
  readonly buckets: number;
  /** Absent while Redis is away. */
  readonly keys: number | undefined;
}

/** Growth below this is noise, whatever its ratio. */
const NOISE: Readonly<Record<keyof Sample, number>> = {
  rssMb: 16,
  heapMb: 16,
  files: 50,
  buckets: 100,
  keys: 100,
};

async function main(): Promise<number> {
  const durationMs = Number(values.minutes) * 60_000;
  const api = await startStandIn();
  const redisPort = await freePort();
  let redis: RedisServer | undefined = await startRedis({ port: redisPort });
  const port = await freePort();
  const adminPort = await freePort();
  const gateway = await start({
    command: process.execPath,
    args: [`--max-old-space-size=${values.heap}`, MAIN, 'serve'],
    port,
    env: {
      HEADGATE_UPSTREAM_URL: api.url,
      HEADGATE_PRESET: 'none',
      HEADGATE_REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      HEADGATE_LISTEN: `127.0.0.1:${port}`,
      HEADGATE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      HEADGATE_DRAIN_DELAY: '0',
      HEADGATE_DRAIN_TIMEOUT: '5s',
    },
  });
  const target: Target = { port };
  const churn = startChurn(target);
  const attacks = values.attacks ? Object.values(ATTACKS).map((begin) => begin(target)) : [];
  const probes = new Tally();
  const health = new Tally();
  const prober = setInterval(() => {
    void call(target, probes, { headers: { authorization: 'token known-probe' } });
    void call({ port: adminPort }, health, { path: '/health/live' });
  }, PROBE_EVERY_MS);
  const samples: Sample[] = [];
  const startedAt = performance.now();
  let redisChangesAt = startedAt + REDIS_LIFE_MS;
  let restarts = 0;
  let isAlive = true;
  console.log('minute  rss MB  heap MB  files  buckets  keys');
  while (isAlive && performance.now() - startedAt < durationMs) {
    await pause(SAMPLE_EVERY_MS);
    if (performance.now() >= redisChangesAt) {
      if (redis === undefined) {
        redis = await startRedis({ port: redisPort });
        restarts++;
        redisChangesAt = performance.now() + REDIS_LIFE_MS;
      } else {
        await redis.kill();
        await redis.stop();
        redis = undefined;
        redisChangesAt = performance.now() + REDIS_AWAY_MS;
      }
    }
    isAlive = isRunning(gateway);
    if (!isAlive) break;
    const sample = await takeSample(gateway, adminPort, redis);
    samples.push(sample);
    if (samples.length % 6 === 0) {
      const minute = ((performance.now() - startedAt) / 60_000).toFixed(1);
      const { rssMb, heapMb, files, buckets, keys } = sample;
      console.log([minute, rssMb, heapMb, files, buckets, keys ?? '-'].map(column).join(''));
    }
  }
  clearInterval(prober);
  for (const attack of attacks) attack.stop();
  await churn.stop();

  const lines = [...Object.entries(churn.tallies), ['probes', probes], ['health', health]] as const;
  for (const [name, tally] of lines) {
    console.log(`${name}: ${tally.text}; ${slowness(tally)}`);
  }
  console.log(`${api.requests} requests reached the API; Redis was killed ${restarts} times`);
  if (churn.skipped > 0) console.log(`${churn.skipped} calls were left out: too many under way`);
  console.log(`most: ${most(samples)}`);
  const problems = isAlive ? judge(samples) : ['the gateway has ended'];
  if (isAlive) await gateway.stop();
  await redis?.stop();
  await api.close();
  for (const problem of problems) console.log(`PROBLEM ${problem}`);
  return problems.length;
}

function column(value: number | string): string {
  return String(value).padStart(8);
}

function slowness({ durationsMs }: Tally): string {
  const [half, most99, longest] = [0.5, 0.99, 1].map((q) => quantile(durationsMs, q).toFixed(0));
  return `p50 ${half} ms, p99 ${most99} ms, longest ${longest} ms`;
}

function most(samples: readonly Sample[]): string {
  const of = (name: keyof Sample): number => Math.max(...samples.map((s) => s[name] ?? 0));
  return `${of('rssMb')} MB RSS, ${of('heapMb')} MB heap, ${of('files')} files, ${of('buckets')} buckets, ${of('keys')} keys`;
}

/** What grew in the second half. Under attack the load itself is not steady. */
function judge(samples: readonly Sample[]): string[] {
  if (values.attacks) return [];
  const quarter = Math.floor(samples.length / 4);
  const problems: string[] = [];
  for (const name of ['rssMb', 'heapMb', 'files', 'buckets', 'keys'] as const) {
    const figures = samples.map((sample) => sample[name]).map((figure) => figure ?? Number.NaN);
    const known = (from: number, to: number): number[] =>
      figures.slice(from, to).filter((figure) => !Number.isNaN(figure));
    const before = median(known(2 * quarter, 3 * quarter));
    const after = median(known(3 * quarter, samples.length));
    const isFlat = after <= before * MAX_GROWTH || after - before <= NOISE[name];
    console.log(`${name}: ${before} in the third quarter, ${after} in the last`);
    if (!isFlat) problems.push(`${name} grows`);
  }
  return problems;
}

async function takeSample(
  gateway: Running,
  adminPort: number,
  redis: RedisServer | undefined,
): Promise<Sample> {
  const admin = `http://127.0.0.1:${adminPort}`;
  const metrics = await (await fetch(`${admin}/metrics`)).text();
  const heapBytes = Number(/^nodejs_heap_size_used_bytes (\S+)/m.exec(metrics)?.[1]);
  const buckets = (await (await fetch(`${admin}/buckets`)).text()).match(/"id":/g)?.length ?? 0;
  return {
    rssMb: Math.round(gateway.rssBytes() / 1024 ** 2),
    heapMb: Math.round(heapBytes / 1024 ** 2),
    files: readdirSync(`/proc/${gateway.pid}/fd`).length,
    buckets,
    keys: await redis?.client.dbsize(),
  };
}

function isRunning({ pid }: Running): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

process.exitCode = (await main()) === 0 ? 0 : 1;
