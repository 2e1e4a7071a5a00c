import { execFile } from 'node:child_process';
import { cpSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Redis } from 'ioredis';
import type { LedgerCosts } from './ledger-costs.ts';
import { reached, tableOf, type Figure } from './support/figures.ts';
import { withLineUp, type LineUp } from './support/line-up.ts';
import { pause } from './support/processes.ts';
import { startHeadgate, startRedis, type Server } from './support/servers.ts';
import { median } from './support/statistics.ts';
import { wrk, type LoadOptions } from './support/wrk.ts';

/**
 * Compares what a call costs in this checkout with what it costs in another one: in both ledgers, with
 * 50,000 waiting tickets in 1,000 flows, and through the gateway. Both are measured in turns, so that
 * other load on the machine disturbs both. A round takes minutes.
 *
 *     node bench/against.ts <other checkout> [<checkout, this one by default>] [--rounds 5]
 *
 * Both need their dependencies installed. Ends with 1 if a figure rose by more than it may.
 */

const SECONDS = 4;
const CONNECTIONS = 64;
/** Far more than a checkout needs. */
const TIMEOUT_MS = 300_000;

/** Microseconds for each call through the gateway. */
interface GatewayCosts {
  readonly localGatewayUs: number;
  readonly sharedGatewayUs: number;
  /** Of the Redis server. */
  readonly redisCallUs: number;
}

type Costs = LedgerCosts & GatewayCosts;

interface Compared {
  readonly key: keyof Costs;
  readonly what: string;
  readonly unit: string;
  /** By which factor it may rise. */
  readonly most: number;
}

const COMPARED: readonly Compared[] = [
  { key: 'localGatewayUs', what: 'gateway, local ledger: CPU of a call', unit: 'µs', most: 1.03 },
  { key: 'sharedGatewayUs', what: 'gateway, Redis: CPU of a call', unit: 'µs', most: 1.03 },
  { key: 'redisCallUs', what: 'gateway, Redis: its CPU for a call', unit: 'µs', most: 1.03 },
  { key: 'localUs', what: 'local ledger: a call', unit: 'µs', most: 1.03 },
  { key: 'localWaitingUs', what: 'local ledger: …, 50,000 waiting', unit: 'µs', most: 1.1 },
  { key: 'localBucketBytes', what: 'local ledger: a bucket', unit: 'bytes', most: 1.1 },
  { key: 'localTicketBytes', what: 'local ledger: a waiting ticket', unit: 'bytes', most: 1.1 },
  { key: 'redisStepUs', what: 'Redis: a step', unit: 'µs', most: 1.05 },
  {
    key: 'redisWaitingUs',
    what: 'Redis: the steps of a call, 50,000 waiting',
    unit: 'µs',
    most: 1.1,
  },
  { key: 'redisBucketBytes', what: 'Redis: a bucket', unit: 'bytes', most: 1.1 },
  { key: 'redisTicketBytes', what: 'Redis: a waiting ticket', unit: 'bytes', most: 1.1 },
];

const HERE = fileURLToPath(new URL('../', import.meta.url));

/** A checkout under measurement, and its gateways. */
interface Contender {
  /** A folder with the sources of the checkout, and the bench of this one. */
  readonly folder: string;
  readonly local: Server;
  readonly shared: Server;
  readonly measured: Costs[];
}

async function contender(checkout: string, name: string, lineUp: LineUp): Promise<Contender> {
  const folder = join(lineUp.folder, name);
  cpSync(join(HERE, 'bench'), join(folder, 'bench'), { recursive: true });
  for (const part of ['src', 'node_modules', 'package.json']) {
    symlinkSync(resolve(checkout, part), join(folder, part));
  }
  const { upstream, redisUrl, up } = lineUp;
  const main = join(folder, 'src/main.ts');
  const redis = { HEADGATE_REDIS_URL: redisUrl, HEADGATE_REDIS_PREFIX: name };
  return {
    folder,
    local: await up(startHeadgate(`${name}, local`, upstream.url, {}, main)),
    shared: await up(startHeadgate(`${name}, Redis`, upstream.url, redis, main)),
    measured: [],
  };
}

async function ledgerCosts({ folder }: Contender, redisUrl: string): Promise<LedgerCosts> {
  const args = ['--expose-gc', 'bench/ledger-costs.ts', redisUrl];
  const options = { cwd: folder, timeout: TIMEOUT_MS };
  const { stdout } = await promisify(execFile)(process.execPath, args, options);
  return JSON.parse(stdout);
}

async function gatewayCosts({ local, shared }: Contender, redis: Redis): Promise<GatewayCosts> {
  // V8 throws away the code of a gateway that had no calls for minutes.
  for (const { url } of [local, shared]) await wrk(loadOf(url));
  const ofLocal = await callUs(local, () => local.cpuMs());
  const before = await cpuOf(redis);
  const ofShared = await callUs(shared, () => shared.cpuMs());
  return {
    localGatewayUs: ofLocal.us,
    sharedGatewayUs: ofShared.us,
    redisCallUs: (((await cpuOf(redis)) - before) * 1000) / ofShared.calls,
  };
}

const loadOf = (url: string): LoadOptions => ({
  url: `${url}/domains`,
  connections: CONNECTIONS,
  seconds: SECONDS,
});

/** Loads a gateway. Returns how many calls it answered, and its processor time for each. */
async function callUs(
  { name, url }: Server,
  cpuMs: () => number,
): Promise<{ readonly calls: number; readonly us: number }> {
  const before = cpuMs();
  const { requests, errors } = await wrk(loadOf(url));
  await pause(50);
  if (errors > 0) throw new Error(`${name}: ${errors} answers were errors`);
  return { calls: requests, us: ((cpuMs() - before) * 1000) / requests };
}

/** Milliseconds of processor time that a Redis server used. */
async function cpuOf(redis: Redis): Promise<number> {
  const info = await redis.info('cpu');
  const seconds = (kind: string): number =>
    Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]);
  return (seconds('user') + seconds('sys')) * 1000;
}

/** The median over the rounds of what this checkout costs, divided by what the other one does. */
function figuresOf(here: readonly Costs[], there: readonly Costs[]): Figure[] {
  return COMPARED.flatMap(({ key, what, unit, most }) => {
    const ratios = here.map((costs, round) => costs[key] / (there[round]?.[key] ?? Number.NaN));
    const of = (all: readonly Costs[]): number => median(all.map((costs) => costs[key]));
    return [
      { what, value: median(ratios), unit: '×', goal: { at: 'most', bound: most } },
      { what: '… here', value: of(here), unit: ` ${unit}` },
      { what: '… in the other checkout', value: of(there), unit: ` ${unit}` },
    ] as const;
  });
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' } },
});
const [checkout, measured = HERE] = positionals;
const rounds = Number(values.rounds);
if (checkout === undefined || !Number.isSafeInteger(rounds) || rounds < 1) {
  console.error('expected the path of another checkout, and at least one round');
  process.exit(2);
}
const figures = await withLineUp(async (lineUp) => {
  // The one of the gateways keeps what they know.
  const emptied = await lineUp.up(startRedis(lineUp.folder));
  const emptiedUrl = emptied.url.replace('http:', 'redis:');
  const redis = new Redis(lineUp.redisUrl);
  const here = await contender(measured, 'here', lineUp);
  const there = await contender(checkout, 'there', lineUp);
  const both = [here, there];
  for (let round = 1; round <= rounds; round++) {
    for (const one of round % 2 === 0 ? both : both.toReversed()) {
      const ofGateway = await gatewayCosts(one, redis);
      one.measured.push({ ...ofGateway, ...(await ledgerCosts(one, emptiedUrl)) });
    }
    console.log(`round ${round} of ${rounds}`);
  }
  redis.disconnect();
  return figuresOf(here.measured, there.measured);
});
console.log(tableOf(figures));
process.exitCode = figures.every(reached) ? 0 : 1;
