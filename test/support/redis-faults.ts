import { setTimeout as sleep } from 'node:timers/promises';
import { LEASE_MS } from '../../src/budget/bucket.ts';
import {
  learnTheTime,
  ledgersOf,
  LIMIT,
  load,
  measured,
  PERIOD_MS,
  startFleet,
  statuses,
  TOKEN,
  type Fleet,
  type Load,
} from './redis-fleet.ts';
import { ask } from './ask.ts';
import { startFaultProxy, type FaultProxy } from './redis-proxy.ts';
import { startRedis, type RedisServer } from './redis-server.ts';
import { startCluster, startSentinels } from './redis-topologies.ts';
import { until } from './setup.ts';

/** The result of calls through replicas, with a fault in their midst. */
export interface FaultResult {
  readonly calls: number;
  /** The number of answers to callers, by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** The number of calls that the API never served. */
  readonly missing: number;
  /** The number of calls that the API served more than once. */
  readonly repeated: number;
  /** The share of the requests at the API that it refused with 429. It depends on the machine. */
  readonly refusedShare: number;
  /** The number of messages that did not reach a replica. It depends on the machine, too. */
  readonly lostMessages?: number;
}

/** Registers what is to be closed at the end, the last first. */
export type Defer = (close: () => Promise<unknown>) => void;

/** Sends calls, has the fault after half a period, and resolves when all are answered. */
async function loadDuring(
  fleet: Fleet,
  options: Load,
  fault: () => Promise<unknown>,
): Promise<FaultResult> {
  const before = measured(fleet).length;
  const loaded = load(fleet, options);
  await sleep(PERIOD_MS / 2);
  await fault();
  const answers = await loaded;
  const seen = measured(fleet).slice(before);
  const served = seen.filter(({ counted }) => counted).map(({ url }) => url);
  const once = new Set(served).size;
  return {
    calls: options.calls,
    statuses: statuses(answers),
    missing: options.calls - once,
    repeated: served.length - once,
    refusedShare: seen.filter(({ status }) => status === 429).length / seen.length,
  };
}

async function untilLedgers(fleet: Fleet, ...wanted: readonly string[]): Promise<void> {
  await until(
    `the ledgers are ${wanted.join(', ')}`,
    async () => (await ledgersOf(fleet)).join() === wanted.join(),
    { everyMs: 50 },
  );
}

const ALL_SHARED = ['redis', 'redis', 'redis'];
const ALL_LOCAL = ['local', 'local', 'local'];

/** Three replicas that reach one Redis through a proxy. */
export class ProxiedReplicas {
  readonly fleet: Fleet;
  readonly proxy: FaultProxy;
  redis: RedisServer;

  private constructor(fleet: Fleet, proxy: FaultProxy, redis: RedisServer) {
    this.fleet = fleet;
    this.proxy = proxy;
    this.redis = redis;
  }

  static async start(defer: Defer): Promise<ProxiedReplicas> {
    const redis = await startRedis();
    const proxy = await startFaultProxy(redis.port);
    defer(() => proxy.close());
    const fleet = await startFleet({ redisUrl: `redis://127.0.0.1:${proxy.port}` });
    const replicas = new ProxiedReplicas(fleet, proxy, redis);
    defer(() => replicas.redis.stop());
    defer(() => fleet.close());
    await learnTheTime(fleet);
    return replicas;
  }

  /** Another process may have taken the port of the lost one meanwhile. */
  async replaceRedis(): Promise<void> {
    this.redis = await startRedis();
    this.proxy.leadTo(this.redis.port);
  }

  /** Half again as many calls as the budget allows, once all replicas work with Redis. */
  async during(fault: () => Promise<unknown>, budgets = 2): Promise<FaultResult> {
    await untilLedgers(this.fleet, ...ALL_SHARED);
    return loadDuring(this.fleet, { calls: LIMIT * budgets, pressure: 1.5 }, fault);
  }
}

/**
 * What can happen to Redis or to the connections, by name. Replicas overcome each, so that the same ones
 * can meet all in turn.
 */
export const FAULTS_OF_REDIS: Readonly<
  Record<string, (replicas: ProxiedReplicas) => Promise<FaultResult>>
> = {
  'Redis is lost, and a new one starts empty': (replicas) =>
    replicas.during(async () => {
      await replicas.redis.stop();
      await untilLedgers(replicas.fleet, ...ALL_LOCAL);
      await replicas.replaceRedis();
    }),

  'Redis stops for five seconds, and then runs the steps that it was sent': (replicas) =>
    replicas.during(async () => {
      replicas.redis.signal('SIGSTOP');
      await sleep(5000);
      replicas.redis.signal('SIGCONT');
    }, 3),

  'connections to Redis are cut in the middle of a reply'(replicas) {
    const { fleet, proxy } = replicas;
    /** Each replica logs a line when it leaves Redis, and when it is back. */
    const changes = (): number =>
      fleet.replicas.reduce((sum, { log }) => sum + log.count('ledger'), 0);
    return replicas.during(async () => {
      const before = changes();
      proxy.cutMidReply(7);
      await until('a replica leaves Redis', () => changes() > before);
    });
  },

  async 'messages that Redis publishes are lost'(replicas) {
    const { proxy } = replicas;
    const result = await replicas.during(async () => {
      proxy.dropMessages(true);
      await sleep(2000);
      proxy.dropMessages(false);
    });
    return { ...result, lostMessages: proxy.dropped };
  },

  'the scripts are flushed, and then all data': (replicas) =>
    replicas.during(async () => {
      await replicas.redis.client.script('FLUSH');
      await sleep(200);
      await replicas.redis.client.flushall();
    }),
};

/** What else can happen to Redis and to replicas, by name. Each starts what it needs, and runs once. */
export const OTHER_FAULTS: Readonly<Record<string, (defer: Defer) => Promise<FaultResult>>> = {
  async 'a Sentinel fails over to a secondary that lacks the last writes'(defer) {
    const sentinels = await startSentinels();
    defer(() => sentinels.stop());
    const fleet = await startFleet({ redisUrl: sentinels.url });
    defer(() => fleet.close());
    await learnTheTime(fleet);
    await untilLedgers(fleet, ...ALL_SHARED);
    const { primary, secondary } = sentinels;
    const isPrimary = async (): Promise<boolean> =>
      (await sentinels.primaryPort()) === secondary.port;
    const result = await loadDuring(fleet, { calls: 3 * LIMIT, pressure: 1.2 }, async () => {
      secondary.signal('SIGSTOP');
      await sleep(200);
      await primary.kill();
      secondary.signal('SIGCONT');
      await until('the secondary is the primary', isPrimary, { everyMs: 50 });
    });
    await untilLedgers(fleet, ...ALL_SHARED);
    // A slow Sentinel may have finished after the last call.
    await load(fleet, { calls: 3 });
    await until(
      'the new primary has the buckets',
      async () => (await secondary.client.keys('headgate:*:state')).length > 0,
    );
    return result;
  },

  async 'one node of a cluster of three is lost'(defer) {
    const cluster = await startCluster();
    defer(() => cluster.stop());
    const settings = { HEADGATE_BUDGET_PER: 'upstream' };
    const fleet = await startFleet({ redisUrl: cluster.url, settings });
    defer(() => fleet.close());
    await load(fleet, { calls: 30 });
    await untilLedgers(fleet, ...ALL_SHARED);
    const node = await cluster.nodeOf('headgate:{upstream:read}:state');
    if ((await node.client.exists('headgate:{upstream:read}:state')) !== 1) {
      throw new Error('expected the bucket on this node');
    }
    const result = await loadDuring(fleet, { calls: 2 * LIMIT, pressure: 1.2 }, () => node.kill());
    await untilLedgers(fleet, ...ALL_LOCAL);
    return result;
  },

  async 'a replica is killed with leases and tickets'(defer) {
    const fleet = await startSharedFleet(defer);
    const victim = fleet.replicas[2];
    // So many that a busy machine cannot have served all when the replica is killed.
    const lost = Array.from({ length: 3 * LIMIT }, (_, i) =>
      ask(`${victim?.url}/domains?victim=${i}`, { headers: { authorization: TOKEN } }).then(
        () => 'answered',
        () => 'broken',
      ),
    );
    const others = { calls: 2 * LIMIT, pressure: 1.5, replicaOf: (call: number) => call % 2 };
    const result = await loadDuring(fleet, others, async () => victim?.kill('SIGKILL'));
    if (!(await Promise.all(lost)).includes('broken')) {
      throw new Error('expected calls of the killed replica to break');
    }
    return result;
  },

  async 'a replica sleeps, and its grants expire meanwhile'(defer) {
    const fleet = await startSharedFleet(defer);
    const sleeper = fleet.replicas[2];
    return loadDuring(fleet, { calls: 7 * LIMIT, pressure: 1.2 }, async () => {
      sleeper?.kill('SIGSTOP');
      await sleep(LEASE_MS + 1000);
      sleeper?.kill('SIGCONT');
    });
  },

  async 'each replica is replaced by a new one'(defer) {
    // A call that is on its way when its replica is stopped is still accepted.
    const fleet = await startSharedFleet(defer, { HEADGATE_DRAIN_DELAY: '1s' });
    const alive = [0, 1, 2];
    const options: Load = {
      calls: 4 * LIMIT,
      pressure: 0.8,
      replicaOf: (call) => alive[call % alive.length] ?? 0,
    };
    const result = await loadDuring(fleet, options, async () => {
      for (const old of [0, 1, 2]) {
        const replacement = fleet.replicas.length;
        await fleet.add();
        // A load balancer sends the old one no further calls, and then it is stopped.
        alive.splice(alive.indexOf(old), 1, replacement);
        fleet.replicas[old]?.kill('SIGTERM');
        await sleep(PERIOD_MS / 2);
      }
    });
    for (const old of fleet.replicas.slice(0, 3)) {
      const { code } = await old.ended;
      if (code !== 0) throw new Error(`expected a replaced replica to exit with 0, got ${code}`);
    }
    return result;
  },
};

/** All faults, each of which starts what it needs. */
export const FAULTS: Readonly<Record<string, (defer: Defer) => Promise<FaultResult>>> = {
  ...Object.fromEntries(
    Object.entries(FAULTS_OF_REDIS).map(([name, run]) => [
      name,
      async (defer: Defer) => run(await ProxiedReplicas.start(defer)),
    ]),
  ),
  ...OTHER_FAULTS,
};

async function startSharedFleet(
  defer: Defer,
  settings: Readonly<Record<string, string>> = {},
): Promise<Fleet> {
  const redis = await startRedis();
  defer(() => redis.stop());
  const fleet = await startFleet({ redisUrl: redis.url, settings });
  defer(() => fleet.close());
  await learnTheTime(fleet);
  return fleet;
}
