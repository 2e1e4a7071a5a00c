import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { EndOfTurn } from '../../src/util/clock.ts';
import { SharedLedger } from '../../src/ledger/shared/shared-ledger.ts';
import type { StatedShares } from '../../src/queue/caller-rules.ts';
import type { StepBatch } from '../../src/ledger/shared/wire.ts';
import { FakeClock } from './fake-clock.ts';
import { LedgerDriver, FakePermits, type Ask, type Asked } from './ledger-driver.ts';
import { startRedis, type RedisServer } from './redis-server.ts';
import { CHANNEL, makeTimedStep } from './redis-step.ts';
import { seededRandom } from './seeded-random.ts';

export interface Replica {
  readonly name: string;
  readonly ledger: SharedLedger;
  readonly driver: LedgerDriver;
  readonly permits: FakePermits;
  /** How many steps it has taken. */
  readonly steps: number;
  readonly troubles: readonly Error[];
  /** Replaces its next step; returns what the step resolves to. */
  interceptNext: ((run: () => Promise<unknown>, batch: StepBatch) => Promise<unknown>) | undefined;
  /** Wraps each of its steps. */
  interceptAll: ((run: () => Promise<unknown>) => Promise<unknown>) | undefined;
  /** While set, messages of other replicas do not reach it. */
  losesMessages: boolean;
  /** While set, its steps do not reach the server. */
  losesSteps: boolean;
}

export interface ReplicaOptions {
  readonly sockets?: number;
  /** In place of `sockets`, those of another ledger as well. */
  readonly socketPermits?: FakePermits;
  readonly maxQueue?: number;
  readonly maxBuckets?: number;
  readonly maxBucketsPerOwner?: number;
  /** What it knows of the API's clock; nothing by default. */
  readonly apiClock?: ApiClock;
  /** Which part of a limit it keeps for owners that do not wait. */
  readonly spread?: number;
  /** The parts of each limit that it keeps for single callers. */
  readonly shares?: StatedShares;
  /** Steps start at once unless a test sets another end of turn. */
  readonly atEndOfTurn?: EndOfTurn;
}

const NEVER = new Promise<never>(() => undefined);

/**
 * Resolves when no step is under way and all that the steps published has arrived. The reply of a step
 * and its messages come on two connections, so a step that ended during a round trip needs another one.
 */
export async function quietRedis(
  subscriber: Pick<RedisServer['client'], 'ping'>,
  isUnderWay: () => boolean,
): Promise<void> {
  for (;;) {
    const wasUnderWay = isUnderWay();
    await subscriber.ping();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    if (!wasUnderWay && !isUnderWay()) return;
  }
}

/**
 * Replicas in this process on one real server, all on one clock that the test turns: what takes
 * minutes takes none, and nothing depends on how fast the machine is.
 */
export class Replicas {
  readonly redis: RedisServer;
  readonly clock = new FakeClock();
  /** The server's clock less this process's. */
  serverAheadMs = 0;
  readonly #subscriber: RedisServer['client'];
  readonly #all = new Map<string, Replica>();
  readonly #underWay = new Set<symbol>();

  private constructor(redis: RedisServer, subscriber: RedisServer['client']) {
    this.redis = redis;
    this.#subscriber = subscriber;
    subscriber.on('pmessage', (_pattern: string, channel: string, text: string) => {
      const replica = this.#all.get(channel.slice(CHANNEL.length));
      if (replica !== undefined && !replica.losesMessages) replica.ledger.receive(text);
    });
  }

  static async start(): Promise<Replicas> {
    const redis = await startRedis();
    const subscriber = redis.client.duplicate();
    await subscriber.psubscribe(`${CHANNEL}*`);
    return new Replicas(redis, subscriber);
  }

  add(name: string, options: ReplicaOptions = {}): Replica {
    const { sockets = 100, maxQueue = 100, apiClock = new ApiClock() } = options;
    const {
      maxBuckets,
      maxBucketsPerOwner,
      spread,
      shares,
      atEndOfTurn = (run) => run(),
    } = options;
    const timedStep = makeTimedStep(this.redis.client);
    const { socketPermits: permits = new FakePermits(sockets) } = options;
    const troubles: Error[] = [];
    let steps = 0;
    const ledger = new SharedLedger({
      clock: this.clock,
      random: seededRandom(1),
      apiClock,
      socketPermits: permits,
      maxQueue,
      maxBuckets,
      maxBucketsPerOwner,
      spread,
      shares,
      replica: name,
      atEndOfTurn,
      timeoutMs: 100,
      onTrouble: (error) => troubles.push(error),
      step: (bucketId, batch) => {
        steps++;
        const at = this.clock.now() + this.serverAheadMs;
        const run = async (): Promise<unknown> => {
          const mark = Symbol(name);
          this.#underWay.add(mark);
          try {
            return await timedStep(bucketId, batch, at);
          } finally {
            this.#underWay.delete(mark);
          }
        };
        if (replica.losesSteps) return NEVER;
        const { interceptNext, interceptAll } = replica;
        replica.interceptNext = undefined;
        if (interceptAll !== undefined) return interceptAll(run);
        return interceptNext === undefined ? run() : interceptNext(run, JSON.parse(batch));
      },
    });
    const driver = new LedgerDriver(ledger, this.clock, permits);
    const replica: Replica = {
      name,
      ledger,
      driver,
      permits,
      troubles,
      interceptNext: undefined,
      interceptAll: undefined,
      losesMessages: false,
      losesSteps: false,
      get steps() {
        return steps;
      },
    };
    this.#all.set(name, replica);
    return replica;
  }

  /** Lets everything finish that is under way at this moment of the clock. */
  quiet(): Promise<void> {
    return quietRedis(this.#subscriber, () => this.#underWay.size > 0);
  }

  /** Moves the clock, timer by timer, with everything done in between that a timer started. */
  pass(ms: number): Promise<void> {
    return this.clock.pass(ms, () => this.quiet());
  }

  /** Asks at one replica, and lets everything finish that this starts. */
  async ask(replica: Replica, options: Ask = {}): Promise<Asked> {
    const asked = replica.driver.ask(options);
    await this.quiet();
    return asked;
  }

  /** Ends all replicas and forgets what they left. */
  async clear(): Promise<void> {
    const closed = Promise.all([...this.#all.values()].map(({ ledger }) => ledger.close()));
    // A lost step is waited for until it times out.
    await this.pass(1000);
    await closed;
    this.#all.clear();
    this.serverAheadMs = 0;
    await this.redis.client.flushall();
  }

  async stop(): Promise<void> {
    this.#subscriber.disconnect();
    await this.redis.stop();
  }
}
