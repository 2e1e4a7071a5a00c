import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type Answer } from './ask.ts';
import { startAzion, type Azion, type AzionOptions, type SeenCall } from './azion.ts';
import { startGatewayProcess, type GatewayProcess } from './gateway-process.ts';
import { utilisationOf } from './utilisation.ts';

export const LIMIT = 60;
export const PERIOD_MS = 2000;
export const TOKEN = 'token one-for-all';
export const CALLERS = ['billing', 'console', 'dns-sync', 'purger', 'reports', 'stats'];

export interface FleetOptions {
  readonly redisUrl: string;
  readonly replicas?: number;
  /** What counts as an outage: longer than a busy machine needs, unless the test is about that. */
  readonly timeout?: string;
  readonly api?: AzionOptions;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Several replicas, each a process, before one API. */
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
        HEADGATE_DRAIN_TIMEOUT: '5s',
        ...options.settings,
      },
    });
    replicas.push(replica);
    return replica;
  };
  await Promise.all(Array.from({ length: options.replicas ?? 3 }, add));
  return {
    azion,
    replicas,
    agent,
    add,
    async close() {
      agent.destroy();
      await Promise.all(replicas.map((replica) => replica.stop()));
      await azion.close();
    },
  };
}

/**
 * The API tells its time in whole seconds, so each replica knows it to a second at first. Calls on
 * other credentials' budgets sharpen that, as a minute of ordinary use would.
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
  /** How many calls in all. */
  readonly calls: number;
  /** How many times as fast as the API serves. */
  readonly pressure?: number;
  /** By call number; in turn unless given. */
  readonly replicaOf?: (call: number) => number;
}

export interface LoadAnswer {
  readonly answer: Answer;
  readonly sentAt: number;
  readonly tookMs: number;
}

/** Asks at a steady pace, all callers in turn, and resolves when every call is answered. */
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
    const noted = answer.then((got) => ({
      answer: got,
      sentAt,
      tookMs: performance.now() - sentAt,
    }));
    // One that breaks while others are still being sent is told with them, at the end.
    noted.catch(() => undefined);
    pending.push(noted);
    const ahead = startedAt + (call + 1) * everyMs - performance.now();
    if (ahead > 0) await sleep(ahead);
  }
  return Promise.all(pending);
}

/** The calls of the measured credential, as the API saw them. */
export function measured({ azion }: Fleet): SeenCall[] {
  return azion.seen.filter(({ headers }) => headers.authorization === TOKEN);
}

/** On the API's side, from the middle of the second budget: by then somebody always waits. */
export function utilisation(fleet: Fleet): number {
  const counted = measured(fleet).filter((call) => call.counted);
  const halfAt: number[] = [];
  for (let i = LIMIT * 1.5; i < counted.length; i += LIMIT) halfAt.push(counted[i]?.atMs ?? 0);
  return utilisationOf(halfAt, PERIOD_MS);
}

/** How many answers had each status: `{ 200: 360 }`. */
export function statuses(answers: readonly LoadAnswer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { answer } of answers) counts[answer.status] = (counts[answer.status] ?? 0) + 1;
  return counts;
}
