import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import { FailoverLedger } from '../../src/ledger/failover-ledger.ts';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import { SharedLedger } from '../../src/ledger/shared/shared-ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { countGrants } from './counted-grants.ts';
import { FakeClock } from './fake-clock.ts';
import { FakePermits } from './ledger-driver.ts';
import { startRedis, type RedisServer } from './redis-server.ts';
import { CHANNEL, makeTimedStep } from './redis-step.ts';
import { seededRandom } from './seeded-random.ts';
import type { WorldReplica } from './several-buckets-world.ts';

const TIMEOUT_MS = 100;

/** A replica that keeps its buckets in Redis, or in its process while Redis is away. */
export interface KilledReplica extends WorldReplica {
  readonly permits: FakePermits;
  readonly mode: () => 'redis' | 'local';
  /** How many grants are not settled. */
  readonly held: () => number;
  close(): Promise<void>;
}

/**
 * Replicas on a clock that the test turns, and a real server that the test kills and starts again,
 * empty. Steps that are under way when it dies may have run or not.
 */
export class KilledRedis {
  readonly clock = new FakeClock();
  readonly #port: number;
  readonly #replicas: KilledReplica[] = [];
  readonly #receivers = new Map<string, SharedLedger>();
  readonly #underWay = new Set<Promise<unknown>>();
  #server: RedisServer;
  readonly #client: RedisServer['client'];
  readonly #subscriber: RedisServer['client'];
  #isDown = false;
  #change: Promise<void> = Promise.resolve();

  private constructor(port: number, server: RedisServer) {
    this.#port = port;
    this.#server = server;
    this.#client = server.client.duplicate({ lazyConnect: false });
    this.#subscriber = server.client.duplicate({ lazyConnect: false });
    for (const client of [this.#client, this.#subscriber]) client.on('error', () => undefined);
    this.#subscriber.on('pmessage', (_pattern: string, channel: string, text: string) => {
      this.#receivers.get(channel.slice(CHANNEL.length))?.receive(text);
    });
  }

  static async start(): Promise<KilledRedis> {
    const server = await startRedis();
    const redis = new KilledRedis(server.port, server);
    await redis.#subscriber.psubscribe(`${CHANNEL}*`);
    return redis;
  }

  /** Replicas that share an empty state. */
  async replicas(names: readonly string[], sockets: number): Promise<readonly KilledReplica[]> {
    await this.#client.flushall();
    this.#replicas.length = 0;
    for (const name of names) this.#replicas.push(this.#make(name, names.length, sockets));
    return this.#replicas;
  }

  /** Kills the server at once. */
  kill(): void {
    if (this.#isDown) return;
    this.#isDown = true;
    const server = this.#server;
    server.signal('SIGKILL');
    this.#change = this.#change.then(() => server.stop());
  }

  /** Starts a server without data in its place. */
  restart(): void {
    this.#change = this.#change.then(async () => {
      if (!this.#isDown) return;
      this.#server = await startRedis({ port: this.#port });
      for (const client of [this.#client, this.#subscriber]) await answers(client);
      this.#isDown = false;
    });
  }

  /** Moves the clock, timer by timer, with everything done in between that a timer started. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    for (;;) {
      await this.#quiet();
      const next = this.clock.nextAt();
      if (next === undefined || next > end) break;
      this.clock.advance(Math.max(0, next - this.clock.now()));
    }
    this.clock.advance(end - this.clock.now());
    await this.#quiet();
  }

  async closeReplicas(): Promise<void> {
    const closed = Promise.all(this.#replicas.map((one) => one.close()));
    await this.pass(1000);
    await closed;
    this.#receivers.clear();
  }

  async stop(): Promise<void> {
    await this.#change;
    for (const client of [this.#client, this.#subscriber]) client.disconnect();
    await this.#server.stop();
  }

  async #quiet(): Promise<void> {
    for (;;) {
      await this.#change;
      const wasUnderWay = this.#underWay.size > 0;
      if (!this.#isDown) await this.#subscriber.ping().catch(() => undefined);
      await turn();
      // A step that ended during this round trip may have published what has not arrived yet.
      if (!wasUnderWay && this.#underWay.size === 0) return;
    }
  }

  #make(name: string, replicas: number, sockets: number): KilledReplica {
    const { clock } = this;
    const permits = new FakePermits(sockets);
    const parts = {
      clock,
      socketPermits: permits,
      maxQueue: 100,
      random: seededRandom(1),
      apiClock: new ApiClock(),
    };
    const shared = new SharedLedger({
      ...parts,
      replica: name,
      atEndOfTurn: (run) => run(),
      timeoutMs: TIMEOUT_MS,
      step: (bucketId, batch) => this.#step(bucketId, batch),
      onTrouble: (error, bucketId) => failover.trouble(error, bucketId),
    });
    const local = new LocalLedger({ ...parts, standIn: { replicas: () => replicas } });
    const failover = new FailoverLedger({
      shared,
      local,
      replicas: () => replicas,
      probe: async (bucketId) => {
        if (this.#isDown) throw new Error('the server is down');
        if (bucketId !== undefined) await shared.probe(bucketId);
      },
      renew: () => undefined,
      clock,
      random: seededRandom(name.length),
      log: makeLog({
        level: 'fatal',
        replica: name,
        clock,
        destination: { write: () => undefined },
      }),
      observer: { mode: () => undefined },
    });
    this.#receivers.set(name, shared);
    const counted = countGrants(failover);
    return {
      ledger: new DrawsLedger({ ledger: counted.ledger, clock, socketPermits: permits }),
      permits,
      held: counted.held,
      mode: () => failover.mode,
      close: () => failover.close(),
    };
  }

  #step(bucketId: string, batch: string): Promise<unknown> {
    // Without a connection a command fails at once.
    if (this.#isDown) return Promise.reject(new Error('the server is down'));
    const step = makeTimedStep(this.#client)(bucketId, batch, this.clock.now());
    const ended = step.catch(() => undefined).finally(() => this.#underWay.delete(ended));
    this.#underWay.add(ended);
    return step;
  }
}

/** Waits for the connection to the new server. */
async function answers(client: RedisServer['client']): Promise<void> {
  for (;;) {
    const isAnswered = await client.ping().then(
      () => true,
      () => false,
    );
    if (isAnswered) return;
    await sleep(5);
  }
}
