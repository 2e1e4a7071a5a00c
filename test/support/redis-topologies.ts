import { startRedis, type RedisServer } from './redis-server.ts';
import { until } from './setup.ts';

export interface Sentinels {
  readonly url: string;
  readonly primary: RedisServer;
  readonly secondary: RedisServer;
  /** The port of the primary, as the Sentinel says. */
  primaryPort(): Promise<number>;
  stop(): Promise<void>;
}

/** A primary, a secondary that follows it, and a Sentinel that watches both. */
export async function startSentinels(): Promise<Sentinels> {
  const primary = await startRedis();
  const secondary = await startRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] });
  await until('the secondary follows', async () =>
    (await secondary.client.info('replication')).includes('master_link_status:up'),
  );
  const sentinel = await startRedis({
    sentinel: [
      `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
      '',
    ].join('\n'),
  });
  await until('the Sentinel knows both', async () => {
    const known: unknown = await sentinel.client.call('SENTINEL', 'replicas', 'main');
    return Array.isArray(known) && known.length === 1;
  });
  return {
    url: `redis+sentinel://127.0.0.1:${sentinel.port}/main`,
    primary,
    secondary,
    async primaryPort() {
      const found: unknown = await sentinel.client.call(
        'SENTINEL',
        'get-master-addr-by-name',
        'main',
      );
      return Number(Array.isArray(found) ? found[1] : undefined);
    },
    async stop() {
      for (const server of [sentinel, secondary, primary]) await server.stop();
    },
  };
}

export interface RedisCluster {
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  /** The node that keeps a key. */
  nodeOf(key: string): Promise<RedisServer>;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const NODES = 3;

/** Three nodes that share the slots; when one is lost the others go on with theirs. */
export async function startCluster(): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  for (let i = 0; i < NODES; i++) nodes.push(await startNode());
  const [first] = nodes;
  if (first === undefined) throw new Error('there is no node');
  const share = Math.ceil(SLOTS / NODES);
  for (const [i, node] of nodes.entries()) {
    const slots = [];
    for (let slot = i * share; slot < Math.min(SLOTS, (i + 1) * share); slot++) slots.push(slot);
    await node.client.call('CLUSTER', 'ADDSLOTS', ...slots);
    await node.client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
  }
  for (const node of nodes.slice(1)) {
    await first.client.call('CLUSTER', 'MEET', '127.0.0.1', node.port);
  }
  for (const node of nodes) {
    await until('the nodes agree', async () => {
      const info = await node.client.call('CLUSTER', 'INFO');
      return /cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(String(info));
    });
  }
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    async nodeOf(key) {
      const slot = Number(await first.client.call('CLUSTER', 'KEYSLOT', key));
      const node = nodes[Math.floor(slot / share)];
      if (node === undefined) throw new Error(`no node has slot ${slot}`);
      return node;
    },
    async stop() {
      for (const node of nodes) await node.stop();
    },
  };
}

/** The nodes talk to each other on a port that is 10,000 higher, which must be as free as theirs. */
function startNode(): Promise<RedisServer> {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'];
  return startRedis({ maxPort: 22_000, args: [...args, '--cluster-require-full-coverage', 'no'] });
}
