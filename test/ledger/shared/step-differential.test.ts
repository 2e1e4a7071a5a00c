// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Priority } from '../../../src/queue/flow.ts';
import {
  readMessage,
  readReply,
  type StepBatch,
  type StepGranted,
  type StepHeld,
  type StepSettled,
  type StepPrefetch,
  type StepTicket,
} from '../../../src/ledger/shared/wire.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { CHANNEL, makeTimedStep } from '../../support/redis-step.ts';
import {
  type PrefetchChanges,
  ReferenceStep,
  type StepOutcome,
} from '../../support/reference-step.ts';

const REPLICAS = ['r1', 'r2', 'r3'];
const START_MS = 1_790_000_000_000;
const MAX_QUEUE = 6;
const OFFER_MS = 2000;
const PREFETCH_MS = 2000;
/** The age up to which a replica keeps prefetched leases. The model would expire older ones one by one. */
const MAX_PREFETCHED_AGE_MS = 5000;

/** What happens before one step, and what the step reports. Numbers choose among what there is. */
const event = fc.record({
  passMs: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 400 }) },
    { weight: 2, arbitrary: fc.integer({ min: 400, max: 12_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 12_000, max: 200_000 }) },
  ),
  /** How far the server's own clock goes back, for good. */
  clockBackMs: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 3_600_000 }) },
  ),
  replica: fc.nat(2),
  confirms: fc.boolean(),
  tickets: fc.array(
    fc.record({
      // A bucket remembers 32 of them.
      owner: fc.oneof({ weight: 4, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(60) }),
      caller: fc.oneof(fc.nat(2), fc.nat(40)),
      priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
      weight: fc.constantFrom(1, 1, 2, 0.5),
      ageMs: fc.oneof(fc.constant(0), fc.nat(3000)),
      waitsMs: fc.constantFrom(0, 500, 5000, 60_000, 120_000),
      how: fc.constantFrom<StepTicket[7]>('new', 'new', 'again', 'kept'),
      cost: fc.option(fc.integer({ min: 1, max: 10 }), { nil: undefined, freq: 1 }),
    }),
    { maxLength: 4 },
  ),
  settled: fc.array(
    fc.record({
      which: fc.nat(),
      outcome: fc.constantFrom<StepSettled[5]>(
        'answered',
        'answered',
        'answered',
        'unsent',
        'lost',
      ),
      status: fc.constantFrom(200, 200, 200, 200, 429, 429, 404, 502),
      limit: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined, freq: 5 }),
      remaining: fc.option(fc.nat(8), { nil: undefined, freq: 5 }),
      cost: fc.option(fc.nat(4), { nil: undefined, freq: 1 }),
      resetIn: fc.option(fc.integer({ min: -500, max: 8000 }), { nil: undefined, freq: 5 }),
      retryIn: fc.option(fc.integer({ min: -100, max: 5000 }), { nil: undefined, freq: 1 }),
      sameWithin: fc.constantFrom(0, 0, 1500),
      uncertainty: fc.constantFrom(0, 20, 2000),
      random: fc.constantFrom(0, 0.25, 0.9),
    }),
    { maxLength: 3 },
  ),
  gone: fc.array(fc.nat(), { maxLength: 1 }),
  /** How many calls use prefetched leases before the step. */
  uses: fc.nat(3),
  usedBy: fc.option(fc.nat(2), { nil: undefined }),
  keepsPrefetched: fc.boolean(),
  wants: fc.constantFrom<number>(0, 3, 200),
});

type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

describe('the step in Redis and the model in this process', () => {
  let redis: RedisServer;
  let timedStep: ReturnType<typeof makeTimedStep>;
  let subscriber: RedisServer['client'];
  let published: [channel: string, text: string][] = [];
  let world = 0;

  beforeAll(async () => {
    redis = await startRedis();
    timedStep = makeTimedStep(redis.client);
    subscriber = redis.client.duplicate();
    await subscriber.psubscribe(`${CHANNEL}*`);
    subscriber.on('pmessage', (_pattern: string, channel: string, text: string) =>
      published.push([channel, text]),
    );
  });

  afterAll(async () => {
    subscriber.disconnect();
    await redis.stop();
  });

  async function stepInRedis(bucket: string, batch: StepBatch, at: number) {
    published = [];
    const text = await timedStep(bucket, JSON.stringify(batch), at);
    // On the subscriber's connection, what the step published precedes this reply.
    await subscriber.ping();
    const reply = readReply(text);
    if (reply.status !== 'ok') throw new Error(`the step returned ${String(text)}`);
    const messages: StepOutcome['published'] = {};
    for (const [channel, payload] of published) {
      const message = readMessage(payload);
      if (message === undefined) throw new Error(`not a message: ${payload}`);
      const { recall = false } = message;
      messages[channel.slice(CHANNEL.length)] = {
        granted: message.granted,
        shed: message.shed,
        recall,
      };
    }
    const { granted, shed, numbers, wakeIn, stock, recall = false } = reply;
    const { limit, remaining, resetIn, blockedFor, leases, waiting } = numbers;
    const outcome: StepOutcome = {
      granted,
      shed,
      published: messages,
      prefetched: stock?.[0] ?? 0,
      recall,
      limit,
      remaining,
      resetIn,
      blockedFor,
      leases,
      waiting,
      wakeIn,
    };
    return { outcome, mark: stock, lineage: reply.lineage, revision: reply.revision };
  }

  test('agree on every grant, shed and number', async () => {
    const stories = fc.array(event, { minLength: 5, maxLength: 40 });
    // The larger one is enough for leases to be prefetched, while at times few operations remain.
    const scales = fc.constantFrom(1, 1, 60);
    const beliefs = fc.constantFrom<StepBatch['belief']>(undefined, undefined, [3, 2000]);
    const parts = fc.constantFrom<StepBatch['shares']>(
      undefined,
      { c0: 0.2 },
      { c1: 0.5, c2: 0.2 },
    );
    await fc.assert(
      fc.asyncProperty(stories, beliefs, scales, parts, async (story, belief, scale, shares) => {
        const bucket = `b${++world}`;
        const model = new ReferenceStep(
          START_MS,
          MAX_QUEUE,
          belief && { limit: belief[0], periodMs: belief[1] },
          shares && {
            parts: new Map(Object.entries(shares)),
            total: Object.values(shares).reduce((sum, part) => sum + part, 0),
          },
        );
        const fleet = new Fleet(bucket, belief, shares, scale);
        let server = START_MS;
        let shift = 0;
        let now = START_MS;
        const introductions = REPLICAS.map((_, replica) => ({ ...NOTHING, replica }));
        const apply = async (it: Event): Promise<void> => {
          server += it.passMs - it.clockBackMs;
          // The script's rule again: while the server's clock is back, the step's clock stands still.
          shift += Math.max(0, now - (server + shift));
          now = server + shift;
          const replica = REPLICAS[it.replica] ?? '';
          const declares = model.mustDeclare.has(replica);
          const { batch, ...prefetch } = fleet.batch(replica, it, now, declares);
          const expected = model.run(batch, prefetch, now);
          const { outcome, ...state } = await stepInRedis(bucket, batch, server);
          expect(comparable(outcome)).toEqual(comparable(expected));
          fleet.receive(batch, outcome, state, now);
        };
        for (const it of [...introductions, ...story]) {
          // In the script a replica whose offer ended gets no further offers until it steps, so the
          // tickets behind its own are served. The model serves only the head of its queue. Hence all
          // replicas but the one that steps confirm their offers before they end.
          for (const replica of fleet.expiring(it.replica, now + it.passMs)) {
            await apply({ ...NOTHING, replica, confirms: true });
          }
          await apply(it);
        }
      }),
      { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 450) },
    );
  });
});

const NOTHING = {
  passMs: 0,
  clockBackMs: 0,
  replica: 0,
  confirms: false,
  tickets: [],
  settled: [],
  gone: [],
  uses: 0,
  usedBy: undefined,
  keepsPrefetched: true,
  wants: 0,
};

/** A lease that a replica may use without a step, with the bucket's counters at its grant. */
interface PrefetchedLease {
  readonly mark: StepPrefetch;
  /** The sequence number of the step that granted it, and the time of that step. */
  readonly grantedBy: number;
  readonly since: number;
}

/** What a grant is without a reserve, which a replica does not report. */
type PlainGranted = readonly [
  id: string,
  kind: StepGranted[1],
  observation: number,
  trusted: boolean,
  cost: number,
];

interface HeldLease {
  readonly granted: PlainGranted;
  readonly since: number;
  /** The ticket that it was granted for, in case the offer ends. */
  readonly waited: WaitingTicket | undefined;
  /** Present for a prefetched lease, until a step reports that it is in use. */
  readonly prefetched?: PrefetchedLease;
}

interface WaitingTicket {
  readonly ticket: StepTicket;
  /** The time at which the age and the wait in `ticket` were true. */
  readonly since: number;
}

/** The leases and tickets of three replicas, as each of them knows them. */
class Fleet {
  readonly #bucket: string;
  readonly #belief: StepBatch['belief'];
  readonly #shares: StepBatch['shares'];
  readonly #scale: number;
  readonly #prefetched = new Map(REPLICAS.map((name) => [name, [] as PrefetchedLease[]]));
  readonly #prefetchedEndsAt = new Map<string, number>();
  readonly #held = new Map(REPLICAS.map((name) => [name, new Map<string, HeldLease>()]));
  readonly #waiting = new Map(REPLICAS.map((name) => [name, new Map<string, WaitingTicket>()]));
  /** The unconfirmed offers of each replica, and when they end. */
  readonly #offers = new Map(REPLICAS.map((name) => [name, new Map<string, number>()]));
  readonly #known = new Map<string, { lineage: string; revision: number }>();
  readonly #epochs = new Map<string, number>();
  #ids = 0;
  #sequence = 0;

  /** All numbers of the budget are multiplied by `scale`. */
  constructor(
    bucket: string,
    belief: StepBatch['belief'],
    shares: StepBatch['shares'],
    scale: number,
  ) {
    this.#bucket = bucket;
    this.#belief = belief;
    this.#shares = shares;
    this.#scale = scale;
  }

  batch(
    replica: string,
    it: Event,
    now: number,
    declares: boolean,
  ): { batch: StepBatch } & PrefetchChanges {
    this.#endOffers(now);
    this.#use(replica, it.uses, now);
    const returned = this.#return(replica, it.keepsPrefetched && !declares, now);
    const held = of(this.#held, replica);
    const waiting = of(this.#waiting, replica);
    const offers = of(this.#offers, replica);
    const known = this.#known.get(replica);
    const epoch = (this.#epochs.get(replica) ?? 0) + (known === undefined || declares ? 1 : 0);
    this.#epochs.set(replica, epoch);
    const confirmed = it.confirms || declares ? [...offers.keys()] : [];
    for (const id of confirmed) offers.delete(id);
    const grantedBy = new Map<string, number>();
    const settled: StepSettled[] = [];
    for (const { which, outcome, limit, remaining, ...rest } of it.settled) {
      const ids = [...held.keys()].filter((id) => !offers.has(id));
      const lease = held.get(ids[which % Math.max(1, ids.length)] ?? '');
      if (lease === undefined) continue;
      const { granted, prefetched } = lease;
      held.delete(granted[0]);
      const report = { limit: this.#scaled(limit), remaining: this.#scaled(remaining), ...rest };
      const observed = outcome === 'answered' ? report : null;
      if (prefetched !== undefined) {
        const [, , , losses, returns] = prefetched.mark;
        grantedBy.set(granted[0], prefetched.grantedBy);
        settled.push([...granted, outcome, observed, losses, returns, now - prefetched.since]);
      } else {
        settled.push(observed === null ? [...granted, outcome] : [...granted, outcome, observed]);
      }
    }
    const ids = [...waiting.keys()];
    const gone = it.gone.flatMap((which) => ids[which % Math.max(1, ids.length)] ?? []);
    for (const id of gone) waiting.delete(id);
    const kept = [...waiting.values()].map(({ ticket, since }): StepTicket => {
      const [id, owner, caller, priority, weight, age, waits, how, cost] = ticket;
      const passed = now - since;
      const keptHow = how.endsWith('again') ? 'kept-again' : 'kept';
      const [aged, left] = [age + passed, waits - passed];
      return cost === undefined
        ? [id, owner, caller, priority, weight, aged, left, keptHow]
        : [id, owner, caller, priority, weight, aged, left, keptHow, cost];
    });
    const fresh = it.tickets.map((ticket): StepTicket => {
      const id = `t${++this.#ids}`;
      const { owner, caller, priority, weight, ageMs, waitsMs, how, cost } = ticket;
      const costs: [] | [number] = cost === undefined ? [] : [cost];
      return [id, `o${owner}`, `c${caller}`, priority, weight, ageMs, waitsMs, how, ...costs];
    });
    for (const ticket of fresh) waiting.set(ticket[0], { ticket, since: now });
    const news = it.confirms ? [...confirmed, ...unreported(held)] : confirmed;
    const reported = (declares ? [...held.keys()] : news).flatMap((id): StepHeld[] => {
      const lease = held.get(id);
      if (lease === undefined) return [];
      const { prefetched, ...plain } = lease;
      held.set(id, plain);
      if (prefetched === undefined) return [[...lease.granted, now - lease.since]];
      const [, , , losses, returns] = prefetched.mark;
      grantedBy.set(id, prefetched.grantedBy);
      return [[...lease.granted, now - prefetched.since, losses, returns]];
    });
    const stock = of(this.#prefetched, replica).length + unreported(held).length;
    const batch: StepBatch = {
      bucket: this.#bucket,
      replica,
      epoch,
      sequence: ++this.#sequence,
      lineage: known?.lineage ?? '',
      revision: known?.revision ?? 0,
      declares: known === undefined || declares,
      free: 1000,
      maxQueue: MAX_QUEUE,
      sheds: Number.MAX_SAFE_INTEGER,
      ...(this.#shares === undefined ? {} : { shares: this.#shares }),
      ...(this.#belief === undefined ? {} : { belief: this.#belief }),
      held: reported,
      settled,
      stock,
      wants: it.wants,
      ...(it.usedBy === undefined ? {} : { usedBy: [`o${it.usedBy}`, 'low', 1] }),
      gone,
      ...(declares ? { tickets: [...kept, ...fresh], repeats: true } : { tickets: fresh }),
    };
    this.#prefetchedEndsAt.set(replica, now + PREFETCH_MS);
    return { batch, returned, grantedBy };
  }

  #scaled(number: number | undefined): number | undefined {
    return number === undefined ? undefined : number * this.#scale;
  }

  /** Uses up to `max` of a replica's prefetched leases for calls. */
  #use(replica: string, max: number, now: number): void {
    const all = of(this.#prefetched, replica);
    if ((this.#prefetchedEndsAt.get(replica) ?? 0) <= now) all.length = 0;
    for (const prefetched of all.splice(0, max)) {
      const id = `s${++this.#ids}`;
      const [, observation, trusted] = prefetched.mark;
      const granted: PlainGranted = [id, 'regular', observation, trusted, 1];
      const { since } = prefetched;
      of(this.#held, replica).set(id, { granted, since, waited: undefined, prefetched });
    }
  }

  /** Drops the prefetched leases that are not kept; returns the steps that granted them. */
  #return(replica: string, keeps: boolean, now: number): number[] {
    const all = of(this.#prefetched, replica);
    const returned: number[] = [];
    const kept: PrefetchedLease[] = [];
    for (const lease of all) {
      if (keeps && now - lease.since < MAX_PREFETCHED_AGE_MS) kept.push(lease);
      else returned.push(lease.grantedBy);
    }
    all.splice(0, all.length, ...kept);
    return returned;
  }

  /**
   * The replicas whose used prefetched leases would expire by the time `by`, or whose offers would;
   * the latter not for the one that steps.
   */
  expiring(stepping: number, by: number): number[] {
    return REPLICAS.flatMap((name, replica) => {
      const ends = replica === stepping ? [] : [...of(this.#offers, name).values()];
      const isUnreported = unreported(of(this.#held, name)).length > 0;
      if (isUnreported) ends.push(this.#prefetchedEndsAt.get(name) ?? 0);
      return ends.some((endsAt) => endsAt <= by) ? [replica] : [];
    });
  }

  /** Applies the reply to a replica's step, and what the step published to the others. */
  receive(
    { replica, sequence }: StepBatch,
    outcome: StepOutcome,
    state: { lineage: string; revision: number; mark: StepPrefetch | undefined },
    now: number,
  ): void {
    const { lineage, revision, mark } = state;
    this.#known.set(replica, { lineage, revision });
    if (mark !== undefined) {
      const prefetched = () => ({ mark, grantedBy: sequence, since: now });
      of(this.#prefetched, replica).push(...Array.from({ length: mark[0] }, prefetched));
    }
    for (const entry of outcome.granted) {
      this.#granted(replica, entry, now);
      of(this.#offers, replica).delete(entry[0]);
    }
    for (const [id] of outcome.shed) of(this.#waiting, replica).delete(id);
    for (const [name, { granted, shed }] of Object.entries(outcome.published)) {
      for (const entry of granted) {
        this.#granted(name, entry, now);
        of(this.#offers, name).set(entry[0], now + OFFER_MS);
      }
      for (const [id] of shed) of(this.#waiting, name).delete(id);
    }
  }

  #granted(replica: string, entry: StepGranted, since: number): void {
    const [id, kind, observation, trusted, cost] = entry;
    const granted: PlainGranted = [id, kind, observation, trusted, cost];
    const waited = of(this.#waiting, replica).get(id);
    of(this.#waiting, replica).delete(id);
    const held = of(this.#held, replica);
    held.set(id, held.get(id) ?? { granted, since, waited });
  }

  #endOffers(now: number): void {
    for (const [name, offers] of this.#offers) {
      for (const [id, endsAt] of offers) {
        if (endsAt > now) continue;
        offers.delete(id);
        const { waited } = of(of(this.#held, name), id);
        of(this.#held, name).delete(id);
        if (waited === undefined) throw new Error(`${id} was offered and has no ticket`);
        const [, owner, caller, priority, weight, age, waits] = waited.ticket;
        const ticket: StepTicket = [id, owner, caller, priority, weight, age, waits, 'again'];
        of(this.#waiting, name).set(id, { ticket, since: waited.since });
      }
    }
  }
}

/** The ids of used prefetched leases that no step has reported. */
function unreported(held: ReadonlyMap<string, HeldLease>): string[] {
  return [...held].flatMap(([id, { prefetched }]) => (prefetched === undefined ? [] : [id]));
}

function of<T>(map: ReadonlyMap<string, T>, name: string): T {
  const found = map.get(name);
  if (found === undefined) throw new Error(`there is no replica ${name}`);
  return found;
}

/** Rounded, since Lua writes numbers with fourteen digits. */
function comparable(outcome: StepOutcome): unknown {
  return JSON.parse(
    JSON.stringify(outcome, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 1000) / 1000 : value,
    ),
  );
}
