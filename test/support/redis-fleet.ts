import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ask, type Answer } from './ask.ts';
import { startAzion, type Azion, type AzionOptions, type SeenCall } from './azion.ts';
import { startGatewayProcess, type GatewayProcess } from './gateway-process.ts';
import { until } from './setup.ts';

export const LIMIT = 60;
export const PERIOD_MS = 2000;
export const TOKEN = 'token one-for-all';
const CALLERS = ['billing', 'console', 'dns-sync', 'purger', 'reports', 'stats'];

export interface FleetOptions {
  readonly redisUrl: string;
  readonly replicas?: number;
  /**
   * How long a step in Redis may take before the replica works alone. A busy machine may exceed it;
   * tests without an outage set one that no machine exceeds.
   */
  readonly timeout?: string;
  readonly api?: AzionOptions;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Several replicas, each a process, in front of one API. */
export interface Fleet {
  readonly azion: Azion;
  readonly replicas: GatewayProcess[];
  readonly agent: Agent;
  /** Starts a further replica. */
  add(): Promise<GatewayProcess>;
  close(): Promise<void>;
}

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const azion = await startAzion({
    semantics: 'sliding',
    limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
    latencyMs: () => 2 + 6 * Math.random(),
    ...options.api,
  });
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const replicas: GatewayProcess[] = [];
  const add = async (): Promise<GatewayProcess> => {
    const replica = await startGatewayProcess({
      upstream: azion.url,
      settings: {
        HEADGATE_REDIS_URL: options.redisUrl,
        HEADGATE_REDIS_TIMEOUT: options.timeout ?? '400ms',
        ...options.settings,
      },
    });
    replicas.push(replica);
    return replica;
  };
  const close = async (): Promise<void> => {
    agent.destroy();
    await Promise.all(replicas.map((replica) => replica.stop()));
    await azion.close();
  };
  const starts = await Promise.allSettled(Array.from({ length: options.replicas ?? 3 }, add));
  const failed = starts.find((start) => start.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  return { azion, replicas, agent, add, close };
}

/**
 * The API's Date header has whole seconds, so each replica knows the API's clock to a second at
 * first. Calls on other credentials' budgets sharpen that, as a minute of ordinary use would.
 */
export async function learnTheTime({ replicas, agent }: Fleet): Promise<void> {
  const pending: Promise<Answer>[] = [];
  for (let i = 0; i < 40; i++) {
    for (const [r, { url }] of replicas.entries()) {
      const authorization = `token warm-up-${r}-${i}`;
      pending.push(ask(`${url}/domains`, { headers: { authorization }, agent }));
    }
    await sleep(30);
  }
  await Promise.all(pending);
}

export interface Load {
  /** The number of calls in all. */
  readonly calls: number;
  /** How many times as fast as the API serves. */
  readonly pressure?: number;
  /** The replica of a call, by the call's number; each in turn by default. */
  readonly replicaOf?: (call: number) => number;
}

export interface LoadAnswer {
  readonly answer: Answer;
  readonly sentAt: number;
  readonly tookMs: number;
}

/** Sends calls at a steady pace, all callers in turn, and resolves when every call is answered. */
export async function load(fleet: Fleet, options: Load): Promise<LoadAnswer[]> {
  const { calls, pressure = 3, replicaOf = (call) => call % fleet.replicas.length } = options;
  const everyMs = PERIOD_MS / (LIMIT * pressure);
  const startedAt = performance.now();
  const pending: Promise<LoadAnswer>[] = [];
  for (let call = 0; call < calls; call++) {
    const replica = fleet.replicas[replicaOf(call)];
    if (replica === undefined) throw new Error(`there is no replica for call ${call}`);
    const caller = CALLERS[call % CALLERS.length] ?? '';
    const headers = { authorization: TOKEN, 'headgate-caller': caller };
    const sentAt = performance.now();
    const answer = ask(`${replica.url}/domains?call=${call}`, { headers, agent: fleet.agent });
    const timed = answer.then((received) => ({
      answer: received,
      sentAt,
      tookMs: performance.now() - sentAt,
    }));
    // A call that breaks while others are still being sent rejects the result at the end.
    timed.catch(() => undefined);
    pending.push(timed);
    const ahead = startedAt + (call + 1) * everyMs - performance.now();
    if (ahead > 0) await sleep(ahead);
  }
  return Promise.all(pending);
}

/** The calls of `load` as the API received them. */
export function measured({ azion }: Fleet): SeenCall[] {
  return azion.seen.filter(
    ({ headers, url }) => headers.authorization === TOKEN && url.includes('?call='),
  );
}

/** The number of answers by status: `{ 200: 360 }`. */
export function statuses(answers: readonly LoadAnswer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { answer } of answers) counts[answer.status] = (counts[answer.status] ?? 0) + 1;
  return counts;
}

/**
 * Resolves when each replica works with Redis. A replica whose connection takes longer than two seconds
 * begins without it, and logs that.
 */
export async function untilShared(fleet: Fleet): Promise<void> {
  await until('all replicas work with Redis', async () =>
    (await ledgersOf(fleet)).every((ledger) => ledger === 'redis'),
  );
}

/** Starts to watch whether replicas leave Redis; returns how many did since. */
export function watchDepartures({ replicas }: Fleet): () => number {
  const departures = (): number =>
    replicas.flatMap(({ log }) => log.named('ledger')).filter(({ ledger }) => ledger === 'local')
      .length;
  const before = departures();
  return () => departures() - before;
}

const ready = z.object({ ledger: z.string() });

/** The ledger that each replica works with, as its readiness reports it: `redis` or `local`. */
export async function ledgersOf({ replicas }: Fleet): Promise<string[]> {
  return Promise.all(
    replicas.map(async ({ adminUrl }) => {
      const { status, text } = await ask(`${adminUrl}/health/ready`);
      if (status !== 200) throw new Error(`not ready: ${status}`);
      return ready.parse(JSON.parse(text)).ledger;
    }),
  );
}
