import { Redis } from 'ioredis';
import type { Admission, CallerSignal, Ledger, Ticket } from '../src/ledger/ledger.ts';
import { LocalLedger } from '../src/ledger/local/local-ledger.ts';
import { bucketKeys, STEP_KEYS, stepScript } from '../src/ledger/shared/script/step-script.ts';
import { SharedLedger } from '../src/ledger/shared/shared-ledger.ts';
import { ApiClock } from '../src/rate-headers/api-clock.ts';
import { systemClock } from '../src/util/system-clock.ts';
import { quantile } from './support/statistics.ts';

/**
 * Measures the two ledgers, and prints {@link LedgerCosts} as JSON.
 *
 *     node --expose-gc bench/ledger-costs.ts <redis URL>
 *
 * `bench/against.ts` runs it with the sources of two checkouts in turns, each time in a process of its
 * own. It uses only what the ledgers of both have in common. It empties the Redis server.
 */
export interface LedgerCosts {
  /** Processor time of this process for one call, if no ticket waits, and if many do. */
  readonly localUs: number;
  readonly localWaitingUs: number;
  /** Bytes of the heap that one bucket takes, and one waiting ticket. */
  readonly localBucketBytes: number;
  readonly localTicketBytes: number;
  /** The server's CPU for one step, if no ticket waits; for all steps of one call, if many do. */
  readonly redisStepUs: number;
  readonly redisWaitingUs: number;
  /** Bytes of the server's memory that one bucket takes, and one waiting ticket. */
  readonly redisBucketBytes: number;
  readonly redisTicketBytes: number;
}

const WAITING = 50_000;
const FLOWS = 1000;
const FLOWS_OF_OWNER = 8;
const BUCKETS = 1000;
/** So few remain that no replica prefetches leases. */
const SCARCE = { limit: 1000, remaining: 100 };
const PLENTY = { limit: 1e9, remaining: 9e8 };
const ROUNDS = 20;
const LOCAL_CALLS = 2000;
const SHARED_CALLS = 50;
const HOUR_MS = 3_600_000;
const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };

const [, , redisUrl] = process.argv;
const { gc } = globalThis;
if (redisUrl === undefined || gc === undefined) {
  throw new Error('expected --expose-gc and the URL of a Redis server');
}

/** Sockets to the API, which become free one by one. */
class Sockets {
  free: number;
  #onFree: () => void = () => undefined;

  constructor(free: number) {
    this.free = free;
  }

  take(): boolean {
    if (this.free === 0) return false;
    this.free--;
    return true;
  }

  onFree(run: () => void): void {
    this.#onFree = run;
  }

  release(): void {
    this.free++;
    this.#onFree();
  }
}

/** Calls through a ledger. Each is answered as soon as it is granted. */
class Calls {
  readonly #ledger: Ledger;
  readonly #sockets: Sockets;
  readonly #reported: typeof SCARCE;
  readonly #resetAt = systemClock.wallMs() + HOUR_MS;
  #number = 0;
  #onAnswered: () => void = () => undefined;

  constructor(make: (sockets: Sockets) => Ledger, reported: typeof SCARCE) {
    this.#sockets = new Sockets(0);
    this.#ledger = make(this.#sockets);
    this.#reported = reported;
  }

  /** A call that is sent when a socket is free. */
  begin(bucket: string): void {
    const admission = this.#ledger.acquire(this.#ticketFor(bucket), STAYS);
    if (admission.kind === 'waiting') void admission.outcome.then((end) => this.#answer(end));
    else this.#answer(admission);
  }

  /** Frees a socket, makes one more call, and resolves when the one that got the socket is answered. */
  async pass(bucket: string): Promise<void> {
    const answered = new Promise<void>((resolve) => {
      this.#onAnswered = resolve;
    });
    this.#sockets.release();
    this.begin(bucket);
    await answered;
  }

  end(): Promise<void> {
    return this.#ledger.close();
  }

  waiting(bucket: string): number {
    return this.#ledger.view(bucket)?.waiting ?? 0;
  }

  #ticketFor(bucket: string): Ticket {
    const flow = this.#number++ % FLOWS;
    const now = systemClock.now();
    return {
      id: String(this.#number),
      bucket: { id: bucket, class: 'read' },
      owner: `10.0.0.${Math.floor(flow / FLOWS_OF_OWNER)}`,
      caller: `caller-${flow % FLOWS_OF_OWNER}`,
      priority: 'normal',
      weight: 1,
      arrivedAt: now,
      deadlineAt: now + HOUR_MS,
    };
  }

  #answer(
    admission: Exclude<Admission, { kind: 'waiting' }> | { readonly kind: 'cancelled' },
  ): void {
    if (admission.kind !== 'granted') throw new Error(`expected a grant, got ${admission.kind}`);
    const at = systemClock.now();
    const reset = { kind: 'instant', atMs: this.#resetAt, resolutionMs: 0 } as const;
    const reading = { ...this.#reported, reset };
    this.#ledger.settle(admission.grant, {
      kind: 'answered',
      answer: { status: 200, reading, sentAt: at, receivedAt: at },
    });
    this.#onAnswered();
  }
}

const common = {
  clock: systemClock,
  random: () => 0.5,
  apiClock: new ApiClock(),
  maxQueue: 2 * WAITING,
  maxBuckets: 2 * BUCKETS,
  // A reserve would keep what the calls need. Versions before it ignore the setting.
  spread: 0,
};

const local = (socketPermits: Sockets): Ledger => new LocalLedger({ ...common, socketPermits });

/** The tenth percentile of the microseconds for each call, over many rounds. */
async function leastUs(round: () => Promise<number>): Promise<number> {
  const rounds: number[] = [];
  // The first two compile the code.
  for (let i = 0; i < ROUNDS + 2; i++) rounds.push(await round());
  return quantile(rounds.slice(2), 0.1);
}

function localUs(calls: Calls): Promise<number> {
  return leastUs(async () => {
    const before = process.threadCpuUsage();
    for (let i = 0; i < LOCAL_CALLS; i++) await calls.pass('bucket');
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / LOCAL_CALLS;
  });
}

function heapBytes(): number {
  gc?.();
  return process.memoryUsage().heapUsed;
}

async function measureLocal(): Promise<Partial<LedgerCosts>> {
  const calls = new Calls(local, PLENTY);
  await calls.pass('bucket');
  const empty = heapBytes();
  for (let i = 0; i < BUCKETS; i++) await calls.pass(`bucket-${i}`);
  const localBucketBytes = (heapBytes() - empty) / BUCKETS;
  const localEmptyUs = await localUs(calls);
  const before = heapBytes();
  for (let i = 0; i < WAITING; i++) calls.begin('bucket');
  const localTicketBytes = (heapBytes() - before) / WAITING;
  const localWaitingUs = await localUs(calls);
  return { localUs: localEmptyUs, localWaitingUs, localBucketBytes, localTicketBytes };
}

async function measureShared(client: Redis): Promise<Partial<LedgerCosts>> {
  client.defineCommand('benchStep', { numberOfKeys: STEP_KEYS, lua: stepScript() });
  const step: unknown = Reflect.get(client, 'benchStep');
  if (typeof step !== 'function') throw new Error('the client has no such command');
  // Each ledger is a replica of its own: a step of one would end what the other one has under way.
  let replicas = 0;
  const shared = (socketPermits: Sockets): Ledger =>
    new SharedLedger({
      ...common,
      socketPermits,
      replica: `bench-${replicas++}`,
      atEndOfTurn: (run) => void setImmediate(run),
      timeoutMs: 60_000,
      step: (bucketId, batch) =>
        step.call(client, ...bucketKeys('bench', bucketId), batch, 'bench:replica:'),
    });
  const memory = async (): Promise<number> =>
    Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
  // Processor time: the server's own figure for a command has what the machine did meanwhile.
  const steps = async (): Promise<{ calls: number; us: number }> => {
    const info = await client.info('everything');
    const seconds = (kind: string): number =>
      Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1]);
    const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(info)?.[1]);
    return { calls, us: (seconds('user') + seconds('sys')) * 1e6 };
  };
  const stepsOf = async (calls: Calls): Promise<{ calls: number; us: number }> => {
    const before = await steps();
    for (let i = 0; i < SHARED_CALLS; i++) await calls.pass('bucket');
    const after = await steps();
    return { calls: after.calls - before.calls, us: after.us - before.us };
  };

  await client.flushall();
  const scarce = new Calls(shared, SCARCE);
  await scarce.pass('bucket');
  const empty = await memory();
  for (let i = 0; i < BUCKETS; i++) await scarce.pass(`bucket-${i}`);
  const redisBucketBytes = ((await memory()) - empty) / BUCKETS;
  const redisStepUs = await leastUs(async () => {
    const { calls, us } = await stepsOf(scarce);
    return us / calls;
  });
  await scarce.end();

  await client.flushall();
  const crowded = new Calls(shared, PLENTY);
  await crowded.pass('bucket');
  const before = await memory();
  for (let i = 0; i < WAITING; i++) crowded.begin('bucket');
  await crowded.pass('bucket');
  while (crowded.waiting('bucket') < WAITING) await crowded.pass('bucket');
  const redisTicketBytes = ((await memory()) - before) / WAITING;
  const redisWaitingUs = await leastUs(async () => (await stepsOf(crowded)).us / SHARED_CALLS);
  return { redisStepUs, redisWaitingUs, redisBucketBytes, redisTicketBytes };
}

const client = new Redis(redisUrl);
const costs = { ...(await measureLocal()), ...(await measureShared(client)) };
await client.flushall();
process.stdout.write(`${JSON.stringify(costs)}\n`, () => {
  // Tickets still wait.
  process.exit();
});
