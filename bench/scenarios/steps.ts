import { Redis } from 'ioredis';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { Grant, CallerSignal, Ticket } from '../../src/ledger/ledger.ts';
import { SharedLedger } from '../../src/ledger/shared/shared-ledger.ts';
import { readReply, type StepBatch, type StepTicket } from '../../src/ledger/shared/wire.ts';
import { bucketKeys, STEP_KEYS, stepScript } from '../../src/ledger/shared/script/step-script.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import type { Figure } from '../support/figures.ts';
import { scratch } from '../support/processes.ts';
import { startRedis } from '../support/servers.ts';

const WAITING = 100_000;
/** StepLoop that are sent without waiting for each other's answers. */
const AT_ONCE = 500;
const STEPS = 50;
const TURNS = 100;
const STEPS_OF_TURN = 10;
const OPERATIONS = 4000;
const FIRST_STEP: StepBatch = {
  bucket: '',
  replica: 'bench',
  epoch: 1,
  sequence: 1,
  lineage: '',
  revision: 0,
  declares: true,
  free: 1000,
  maxQueue: 2 * WAITING,
  sheds: 0,
  held: [],
  settled: [],
  stock: 0,
  wants: 0,
  gone: [],
  tickets: [],
};
const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };
/** So much that nobody waits: what is measured is the way there. */
const ENOUGH = { limit: 1_000_000_000, periodMs: 60_000 };

type Step = (bucketId: string, batch: string) => Promise<unknown>;

/** What a step of the shared ledger takes in Redis, and how many a request needs. */
export async function measureSteps({ buckets }: { buckets: number }): Promise<Figure[]> {
  const folder = scratch();
  const server = await startRedis(folder.path);
  const client = new Redis(server.url.replace('http:', 'redis:'));
  client.defineCommand('benchStep', { numberOfKeys: STEP_KEYS, lua: stepScript() });
  const run: unknown = Reflect.get(client, 'benchStep');
  if (typeof run !== 'function') throw new Error('the client has no such command');
  const step: Step = (bucketId, batch) =>
    run.call(client, ...bucketKeys('bench', bucketId), batch, 'bench:replica:');
  try {
    return [
      ...(await longQueue(client, step)),
      ...(await waitingOwners(client, step)),
      ...(await manyBuckets(client, step, buckets)),
      ...(await batching(step)),
    ];
  } finally {
    client.disconnect();
    await server.stop();
    folder.remove();
  }
}

async function longQueue(client: Redis, step: Step): Promise<Figure[]> {
  const empty: StepBatch = { ...FIRST_STEP, bucket: 'long', free: 0 };
  let [sequence, lineage, revision, ids] = [0, '', 0, 0];
  const take = async (tickets: StepTicket[]): Promise<number> => {
    const declares = sequence === 0;
    const batch = { ...empty, sequence: ++sequence, lineage, revision, declares, tickets };
    const reply = readReply(await step('long', JSON.stringify(batch)));
    if (reply.status !== 'ok') throw new Error(`the step said ${reply.status}`);
    ({ lineage, revision } = reply);
    return reply.numbers.waiting;
  };
  const tickets = (count: number): StepTicket[] =>
    Array.from({ length: count }, () => {
      const flow = ++ids % 20;
      return [`b.${ids}`, `10.0.0.${flow}`, `caller-${flow}`, 'normal', 1, 0, 1e9, 'new'];
    });
  while ((await take(tickets(256))) < WAITING);
  const perStepMs = async (count: number): Promise<number> => {
    await client.config('RESETSTAT');
    for (let i = 0; i < STEPS; i++) await take(tickets(count));
    return (await perStepUs(client)) / 1000;
  };
  const what = `step in Redis, ${WAITING} tickets waiting`;
  const goal = { at: 'most', bound: 5 } as const;
  return [
    { what: `${what}, nothing new`, value: await perStepMs(0), unit: ' ms', goal },
    { what: `${what}, 1 new`, value: await perStepMs(1), unit: ' ms', goal },
    { what: `${what}, 256 new`, value: await perStepMs(256), unit: ' ms', goal },
  ];
}

/**
 * What the reserve adds to a step while tickets of ten owners wait: steps with and without one, in turns.
 * Each step declares that a ticket is gone and that another one waits.
 */
async function waitingOwners(client: Redis, step: Step): Promise<Figure[]> {
  const measured = { with: stepsOfOwners(step, {}), without: stepsOfOwners(step, { spread: 0 }) };
  const times: Record<keyof typeof measured, number[]> = { with: [], without: [] };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const kind of ['with', 'without'] as const) {
      await client.config('RESETSTAT');
      for (let i = 0; i < STEPS_OF_TURN; i++) await measured[kind]();
      times[kind].push(await perStepUs(client));
    }
  }
  const low = (kind: keyof typeof measured): number =>
    times[kind].toSorted((a, b) => a - b)[Math.floor(TURNS / 5)] ?? Number.NaN;
  return [
    {
      what: 'step in Redis, ten owners waiting: with a reserve / without',
      value: low('with') / low('without'),
      unit: '×',
      goal: { at: 'most', bound: 1.1 },
    },
  ];
}

function stepsOfOwners(step: Step, more: Pick<StepBatch, 'spread'>): () => Promise<void> {
  const bucket = `owners-${more.spread ?? 'auto'}`;
  const empty: StepBatch = { ...FIRST_STEP, ...more, bucket, free: 0, belief: [200, 60_000] };
  let [sequence, lineage, revision, ids] = [0, '', 0, 0];
  return async () => {
    const declares = sequence === 0;
    const owner = `10.0.0.${++ids % 10}`;
    const ticket: StepTicket = [`b.${ids}`, owner, owner, 'normal', 1, 0, 1e9, 'new'];
    const gone = ids > 40 ? [`b.${ids - 40}`] : [];
    const batch = { ...empty, sequence: ++sequence, lineage, revision, declares, gone };
    const text = await step(bucket, JSON.stringify({ ...batch, tickets: [ticket] }));
    const reply = readReply(text);
    if (reply.status !== 'ok') throw new Error(`the step said ${reply.status}`);
    ({ lineage, revision } = reply);
  };
}

/** Microseconds of the server's own time that a step took since its statistics were reset. */
async function perStepUs(client: Redis): Promise<number> {
  const [, calls, us] =
    /cmdstat_evalsha:calls=(\d+),usec=(\d+)/.exec(await client.info('commandstats')) ?? [];
  return Number(us) / Number(calls);
}

/** Whether a step that grants one request costs the same however many buckets there are. */
async function manyBuckets(client: Redis, step: Step, most: number): Promise<Figure[]> {
  const perBucket = async (prefix: string, buckets: number): Promise<number> => {
    let epoch = 0;
    const grantOne = async (nth: number): Promise<void> => {
      const bucket = `${prefix}-${nth % buckets}`;
      const id = `b.${prefix}.${++epoch}`;
      const ticket: StepTicket = [id, '10.0.0.1', 'caller', 'normal', 1, 0, 1e9, 'new'];
      // In an epoch of its own each is a first step, which says anew what the replica holds: nothing.
      const batch = { ...FIRST_STEP, bucket, epoch, belief: [1e9, 60_000], tickets: [ticket] };
      const reply = readReply(await step(bucket, JSON.stringify(batch)));
      const isGranted = reply.status === 'ok' && reply.granted.length === 1;
      if (!isGranted) throw new Error('nothing was granted');
    };
    const many = async (count: number): Promise<void> => {
      for (let from = 0; from < count; from += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => grantOne((from + i) * 7919)));
      }
    };
    await many(Math.max(buckets, 10 * AT_ONCE));
    await client.config('RESETSTAT');
    await many(20 * AT_ONCE);
    return perStepUs(client);
  };
  const one = await perBucket('one', 1);
  const all = await perBucket('many', most);
  await client.flushall();
  return [
    {
      what: `step in Redis: cost with ${most} buckets / with 1`,
      value: all / one,
      unit: '×',
      goal: { at: 'most', bound: 1.25 },
    },
    {
      what: 'step in Redis that declares and grants one request, 1 bucket',
      value: one,
      unit: ' µs',
    },
  ];
}

/** So many callers, each asking again as soon as it is answered. */
async function batching(step: Step): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const callers of [1, 16, 128]) {
    let steps = 0;
    const ledger = new SharedLedger({
      clock: systemClock,
      random: () => 0.5,
      apiClock: new ApiClock(),
      socketPermits: { free: 1000, take: () => true, onFree: () => undefined },
      maxQueue: 10_000,
      configuredLimit: ENOUGH,
      replica: `bench-${callers}`,
      atEndOfTurn: (run) => void setImmediate(run),
      timeoutMs: 1000,
      step(bucketId, batch) {
        steps++;
        return step(bucketId, batch);
      },
    });
    let left = OPERATIONS;
    const caller = async (): Promise<void> => {
      while (left-- > 0) {
        const grant = await granted(ledger, ticketFor(`batch-${callers}`, left));
        const at = systemClock.now();
        const answer = { status: 200, reading: {}, sentAt: at, receivedAt: at };
        ledger.settle(grant, { kind: 'answered', answer });
      }
    };
    const startedAt = systemClock.now();
    await Promise.all(Array.from({ length: callers }, caller));
    const tookMs = systemClock.now() - startedAt;
    await ledger.close();
    figures.push(
      {
        what: `${callers} callers at once: requests per step`,
        value: OPERATIONS / steps,
        unit: '',
      },
      {
        what: `${callers} callers at once: requests per second, one bucket`,
        value: (OPERATIONS / tookMs) * 1000,
        unit: '/s',
      },
    );
  }
  return figures;
}

async function granted(ledger: SharedLedger, ticket: Ticket): Promise<Grant> {
  const admission = ledger.acquire(ticket, STAYS);
  const outcome = admission.kind === 'waiting' ? await admission.outcome : admission;
  if (outcome.kind === 'granted') return outcome.grant;
  throw new Error(`expected a grant, got ${outcome.kind}`);
}

function ticketFor(bucket: string, number: number): Ticket {
  const now = systemClock.now();
  return {
    id: String(number),
    bucket: { id: bucket, class: 'read' },
    owner: '127.0.0.1',
    caller: `caller-${number % 8}`,
    priority: 'normal',
    weight: 1,
    arrivedAt: now,
    deadlineAt: now + 60_000,
  };
}
