// @module-tag needs-redis-server
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Priority } from '../../../src/queue/fair-queue.ts';
import {
  readMessage,
  readReply,
  type StepBatch,
  type StepGranted,
  type StepHeld,
  type StepSettled,
  type StepStock,
  type StepTicket,
} from '../../../src/ledger/shared/wire.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { CHANNEL, makeTimedStep } from '../../support/redis-step.ts';
import { ReferenceStep, type StepOutcome, type StockUsed } from '../../support/reference-step.ts';

const REPLICAS = ['r1', 'r2', 'r3'];
const START_MS = 1_790_000_000_000;
const MAX_QUEUE = 6;
const OFFER_MS = 2000;
const STOCK_MS = 2000;
/** Leases of stock would expire in the model, and do not in the script; no replica keeps any so long. */
const OLDEST_STOCK_MS = 5000;

/** What happens before one step, and what the step brings; numbers choose among what is there. */
const happening = fc.record({
  passMs: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 400 }) },
    { weight: 2, arbitrary: fc.integer({ min: 400, max: 12_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 12_000, max: 200_000 }) },
  ),
  /** The server's own clock goes back by this much, for good. */
  clockBackMs: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 3_600_000 }) },
  ),
  replica: fc.nat(2),
  confirms: fc.boolean(),
  tickets: fc.array(
    fc.record({
      owner: fc.nat(2),
      caller: fc.oneof(fc.nat(2), fc.nat(40)),
      priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
      weight: fc.constantFrom(1, 1, 2, 0.5),
      ageMs: fc.oneof(fc.constant(0), fc.nat(3000)),
      waitsMs: fc.constantFrom(0, 500, 5000, 60_000, 120_000),
      how: fc.constantFrom<StepTicket[7]>('new', 'new', 'again', 'kept'),
    }),
    { maxLength: 4 },
  ),
  settled: fc.array(
    fc.record({
      which: fc.nat(),
      outcome: fc.constantFrom<StepSettled[4]>(
        'answered',
        'answered',
        'answered',
        'unsent',
        'lost',
      ),
      status: fc.constantFrom(200, 200, 200, 200, 429, 429, 404, 502),
      limit: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined, freq: 5 }),
      remaining: fc.option(fc.nat(8), { nil: undefined, freq: 5 }),
      resetIn: fc.option(fc.integer({ min: -500, max: 8000 }), { nil: undefined, freq: 5 }),
      retryIn: fc.option(fc.integer({ min: -100, max: 5000 }), { nil: undefined, freq: 1 }),
      sameWithin: fc.constantFrom(0, 0, 1500),
      uncertainty: fc.constantFrom(0, 20, 2000),
      random: fc.constantFrom(0, 0.25, 0.9),
    }),
    { maxLength: 3 },
  ),
  gone: fc.array(fc.nat(), { maxLength: 1 }),
  /** Calls that go from stock before the step. */
  uses: fc.nat(3),
  keepsStock: fc.boolean(),
  wants: fc.constantFrom<number>(0, 3, 200),
});

type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

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
    // What the step published stands before this reply on the subscriber's connection.
    await subscriber.ping();
    const reply = readReply(text);
    if (reply.status !== 'ok') throw new Error(`the step said ${String(text)}`);
    const messages: StepOutcome['published'] = {};
    for (const [channel, said] of published) {
      const message = readMessage(said);
      if (message === undefined) throw new Error(`not a message: ${said}`);
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
      stockAdded: stock?.[0] ?? 0,
      recall,
      limit,
      remaining,
      resetIn,
      blockedFor,
      leases,
      waiting,
      wakeIn,
    };
    return { outcome, stock, lineage: reply.lineage, revision: reply.revision };
  }

  test('agree on every grant, shed and number', { timeout: 120_000 }, async () => {
    const stories = fc.array(happening, { minLength: 5, maxLength: 40 });
    // The second: as much as makes stock, with the same few left at times.
    const scales = fc.constantFrom(1, 1, 60);
    const beliefs = fc.constantFrom<StepBatch['belief']>(undefined, undefined, [3, 2000]);
    await fc.assert(
      fc.asyncProperty(stories, beliefs, scales, async (story, belief, scale) => {
        const bucket = `b${++world}`;
        const model = new ReferenceStep(
          START_MS,
          MAX_QUEUE,
          belief && { limit: belief[0], periodMs: belief[1] },
        );
        const fleet = new Fleet(bucket, belief, scale);
        let server = START_MS;
        let shift = 0;
        let now = START_MS;
        const introductions = REPLICAS.map((_, replica) => ({ ...NOTHING, replica }));
        const happen = async (it: Happening): Promise<void> => {
          server += it.passMs - it.clockBackMs;
          // The script's rule, said once more: a clock that goes back stands still.
          shift += Math.max(0, now - (server + shift));
          now = server + shift;
          const replica = REPLICAS[it.replica] ?? '';
          const declares = model.mustDeclare.has(replica);
          const { batch, ...stock } = fleet.batch(replica, it, now, declares);
          const expected = model.run(batch, stock, now);
          const { outcome, ...said } = await stepInRedis(bucket, batch, server);
          expect(comparable(outcome)).toEqual(comparable(expected));
          fleet.heard(batch, outcome, said, now);
        };
        for (const it of [...introductions, ...story]) {
          // A replica that lets an offer end gets no other until it steps, which needs a queue that
          // can be walked past its head; here only the one that steps lets offers end.
          for (const replica of fleet.losers(it.replica, now + it.passMs)) {
            await happen({ ...NOTHING, replica, confirms: true });
          }
          await happen(it);
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
  keepsStock: true,
  wants: 0,
};

/** One that a replica may use without asking: how things stood when it was given. */
interface InStock {
  readonly mark: StepStock;
  /** The sequence number of the step that gave it, and when that was. */
  readonly givenBy: number;
  readonly since: number;
}

interface HeldHere {
  readonly granted: StepGranted;
  readonly since: number;
  /** What it was granted for, in case the offer ends. */
  readonly waited: SharedQueue | undefined;
  /** Where it came from stock, until a step tells of it. */
  readonly fromStock?: InStock;
}

interface SharedQueue {
  readonly ticket: StepTicket;
  /** When its age and its wait were as they stand there. */
  readonly since: number;
}

/** Three replicas, as far as their own books go: what each was told it holds and waits for. */
class Fleet {
  readonly #bucket: string;
  readonly #belief: StepBatch['belief'];
  readonly #scale: number;
  readonly #stock = new Map(REPLICAS.map((name) => [name, [] as InStock[]]));
  readonly #stockEndsAt = new Map<string, number>();
  readonly #held = new Map(REPLICAS.map((name) => [name, new Map<string, HeldHere>()]));
  readonly #waiting = new Map(REPLICAS.map((name) => [name, new Map<string, SharedQueue>()]));
  /** Offers not yet confirmed, and when they end. */
  readonly #offers = new Map(REPLICAS.map((name) => [name, new Map<string, number>()]));
  readonly #known = new Map<string, { lineage: string; revision: number }>();
  readonly #epochs = new Map<string, number>();
  #ids = 0;
  #sequence = 0;

  /** `scale`: what numbers of the budget are multiplied by. */
  constructor(bucket: string, belief: StepBatch['belief'], scale: number) {
    this.#bucket = bucket;
    this.#belief = belief;
    this.#scale = scale;
  }

  batch(
    replica: string,
    it: Happening,
    now: number,
    declares: boolean,
  ): { batch: StepBatch } & StockUsed {
    this.#endOffers(now);
    this.#use(replica, it.uses, now);
    const returned = this.#giveBack(replica, it.keepsStock && !declares, now);
    const held = of(this.#held, replica);
    const waiting = of(this.#waiting, replica);
    const offers = of(this.#offers, replica);
    const known = this.#known.get(replica);
    const epoch = (this.#epochs.get(replica) ?? 0) + (known === undefined || declares ? 1 : 0);
    this.#epochs.set(replica, epoch);
    const confirmed = it.confirms || declares ? [...offers.keys()] : [];
    for (const id of confirmed) offers.delete(id);
    const givenBy = new Map<string, number>();
    const settled: StepSettled[] = [];
    for (const { which, outcome, limit, remaining, ...rest } of it.settled) {
      const ids = [...held.keys()].filter((id) => !offers.has(id));
      const lease = held.get(ids[which % Math.max(1, ids.length)] ?? '');
      if (lease === undefined) continue;
      const { granted, fromStock } = lease;
      held.delete(granted[0]);
      const said = { limit: this.#scaled(limit), remaining: this.#scaled(remaining), ...rest };
      const observed = outcome === 'answered' ? said : null;
      if (fromStock !== undefined) {
        const [, , , losses, returns] = fromStock.mark;
        givenBy.set(granted[0], fromStock.givenBy);
        settled.push([...granted, outcome, observed, losses, returns, now - fromStock.since]);
      } else {
        settled.push(observed === null ? [...granted, outcome] : [...granted, outcome, observed]);
      }
    }
    const ids = [...waiting.keys()];
    const gone = it.gone.flatMap((which) => ids[which % Math.max(1, ids.length)] ?? []);
    for (const id of gone) waiting.delete(id);
    const kept = [...waiting.values()].map(({ ticket, since }): StepTicket => {
      const [id, owner, caller, priority, weight, age, waits, how] = ticket;
      const passed = now - since;
      const stays = how.endsWith('again') ? 'kept-again' : 'kept';
      return [id, owner, caller, priority, weight, age + passed, waits - passed, stays];
    });
    const fresh = it.tickets.map((ticket): StepTicket => {
      const id = `t${++this.#ids}`;
      const { owner, caller, priority, weight, ageMs, waitsMs, how } = ticket;
      return [id, `o${owner}`, `c${caller}`, priority, weight, ageMs, waitsMs, how];
    });
    for (const ticket of fresh) waiting.set(ticket[0], { ticket, since: now });
    const told = it.confirms ? [...confirmed, ...untold(held)] : confirmed;
    const holding = declares ? [...held.keys()] : told;
    const telling = holding.flatMap((id): StepHeld[] => {
      const lease = held.get(id);
      if (lease === undefined) return [];
      const { fromStock, ...plain } = lease;
      held.set(id, plain);
      if (fromStock === undefined) return [[...lease.granted, now - lease.since]];
      const [, , , losses, returns] = fromStock.mark;
      givenBy.set(id, fromStock.givenBy);
      return [[...lease.granted, now - fromStock.since, losses, returns]];
    });
    const stock = of(this.#stock, replica).length + untold(held).length;
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
      ...(this.#belief === undefined ? {} : { belief: this.#belief }),
      held: telling,
      settled,
      stock,
      wants: it.wants,
      gone,
      tickets: declares ? [...kept, ...fresh] : fresh,
    };
    this.#stockEndsAt.set(replica, now + STOCK_MS);
    return { batch, returned, givenBy };
  }

  #scaled(number: number | undefined): number | undefined {
    return number === undefined ? undefined : number * this.#scale;
  }

  #use(replica: string, most: number, now: number): void {
    const stock = of(this.#stock, replica);
    if ((this.#stockEndsAt.get(replica) ?? 0) <= now) stock.length = 0;
    for (const one of stock.splice(0, most)) {
      const id = `s${++this.#ids}`;
      const [, observation, trusted] = one.mark;
      const granted: StepGranted = [id, 'slot', observation, trusted];
      const { since } = one;
      of(this.#held, replica).set(id, { granted, since, waited: undefined, fromStock: one });
    }
  }

  /** Gives back what is not kept; says which steps gave it. */
  #giveBack(replica: string, keeps: boolean, now: number): number[] {
    const stock = of(this.#stock, replica);
    const returned: number[] = [];
    const kept: InStock[] = [];
    for (const one of stock) {
      if (keeps && now - one.since < OLDEST_STOCK_MS) kept.push(one);
      else returned.push(one.givenBy);
    }
    stock.splice(0, stock.length, ...kept);
    return returned;
  }

  /** Whose used stock would end by then, and, of others than the one that steps, whose offers. */
  losers(stepping: number, by: number): number[] {
    return REPLICAS.flatMap((name, replica) => {
      const ends = replica === stepping ? [] : [...of(this.#offers, name).values()];
      if (untold(of(this.#held, name)).length > 0) ends.push(this.#stockEndsAt.get(name) ?? 0);
      return ends.some((endsAt) => endsAt <= by) ? [replica] : [];
    });
  }

  heard(
    { replica, sequence }: StepBatch,
    said: StepOutcome,
    state: { lineage: string; revision: number; stock: StepStock | undefined },
    now: number,
  ): void {
    const { lineage, revision, stock } = state;
    this.#known.set(replica, { lineage, revision });
    if (stock !== undefined) {
      const given = () => ({ mark: stock, givenBy: sequence, since: now });
      of(this.#stock, replica).push(...Array.from({ length: stock[0] }, given));
    }
    for (const entry of said.granted) {
      this.#granted(replica, entry, now);
      of(this.#offers, replica).delete(entry[0]);
    }
    for (const [id] of said.shed) of(this.#waiting, replica).delete(id);
    for (const [name, { granted, shed }] of Object.entries(said.published)) {
      for (const entry of granted) {
        this.#granted(name, entry, now);
        of(this.#offers, name).set(entry[0], now + OFFER_MS);
      }
      for (const [id] of shed) of(this.#waiting, name).delete(id);
    }
  }

  #granted(replica: string, granted: StepGranted, since: number): void {
    const [id] = granted;
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
        if (waited === undefined) throw new Error(`${id} was offered and never asked for`);
        const [, owner, caller, priority, weight, age, waits] = waited.ticket;
        const again: StepTicket = [id, owner, caller, priority, weight, age, waits, 'again'];
        of(this.#waiting, name).set(id, { ticket: again, since: waited.since });
      }
    }
  }
}

/** Those of a replica's leases that came from stock and that no step told of. */
function untold(held: ReadonlyMap<string, HeldHere>): string[] {
  return [...held].flatMap(([id, { fromStock }]) => (fromStock === undefined ? [] : [id]));
}

function of<T>(map: ReadonlyMap<string, T>, name: string): T {
  const found = map.get(name);
  if (found === undefined) throw new Error(`there is no replica ${name}`);
  return found;
}

/** Numbers come as decimal text of fourteen digits. */
function comparable(outcome: StepOutcome): unknown {
  return JSON.parse(
    JSON.stringify(outcome, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 1000) / 1000 : value,
    ),
  );
}
