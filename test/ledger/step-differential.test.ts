import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Priority } from '../../src/core/fair-queue.ts';
import {
  readMessage,
  readReply,
  type StepBatch,
  type StepGranted,
  type StepHeld,
  type StepSettled,
  type StepTicket,
} from '../../src/ledger/step-protocol.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { CHANNEL, makeTimedStep } from '../support/redis-step.ts';
import { ReferenceStep, type StepOutcome } from '../support/reference-step.ts';

const REPLICAS = ['r1', 'r2', 'r3'];
const START_MS = 1_790_000_000_000;
const MAX_QUEUE = 6;
const OFFER_MS = 2000;

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
      chance: fc.constantFrom(0, 0.25, 0.9),
    }),
    { maxLength: 3 },
  ),
  gone: fc.array(fc.nat(), { maxLength: 1 }),
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
      messages[channel.slice(CHANNEL.length)] = { granted: message.granted, shed: message.shed };
    }
    const { granted, shed, numbers, wakeIn } = reply;
    const { limit, remaining, resetIn, blockedFor, leases, waiting } = numbers;
    const outcome: StepOutcome = {
      granted,
      shed,
      published: messages,
      limit,
      remaining,
      resetIn,
      blockedFor,
      leases,
      waiting,
      wakeIn,
    };
    return { outcome, lineage: reply.lineage, revision: reply.revision };
  }

  test('agree on every grant, shed and number', { timeout: 120_000 }, async () => {
    const stories = fc.array(happening, { minLength: 5, maxLength: 40 });
    const beliefs = fc.constantFrom<StepBatch['belief']>(undefined, undefined, [3, 2000]);
    await fc.assert(
      fc.asyncProperty(stories, beliefs, async (story, belief) => {
        const bucket = `b${++world}`;
        const model = new ReferenceStep(
          START_MS,
          MAX_QUEUE,
          belief && { limit: belief[0], periodMs: belief[1] },
        );
        const fleet = new Fleet(bucket, belief);
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
          const batch = fleet.batch(replica, it, now, model.mustDeclare.has(replica));
          const expected = model.run(batch, now);
          const { outcome, lineage, revision } = await stepInRedis(bucket, batch, server);
          expect(comparable(outcome)).toEqual(comparable(expected));
          fleet.heard(batch.replica, outcome, lineage, revision, now);
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
      { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 300) },
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
};

interface HeldHere {
  readonly granted: StepGranted;
  readonly since: number;
  /** What it was granted for, in case the offer ends. */
  readonly waited: WaitingHere | undefined;
}

interface WaitingHere {
  readonly ticket: StepTicket;
  /** When its age and its wait were as they stand there. */
  readonly since: number;
}

/** Three replicas, as far as their own books go: what each was told it holds and waits for. */
class Fleet {
  readonly #bucket: string;
  readonly #belief: StepBatch['belief'];
  readonly #held = new Map(REPLICAS.map((name) => [name, new Map<string, HeldHere>()]));
  readonly #waiting = new Map(REPLICAS.map((name) => [name, new Map<string, WaitingHere>()]));
  /** Offers not yet confirmed, and when they end. */
  readonly #offers = new Map(REPLICAS.map((name) => [name, new Map<string, number>()]));
  readonly #known = new Map<string, { lineage: string; revision: number }>();
  readonly #epochs = new Map<string, number>();
  #ids = 0;
  #sequence = 0;

  constructor(bucket: string, belief: StepBatch['belief']) {
    this.#bucket = bucket;
    this.#belief = belief;
  }

  batch(replica: string, it: Happening, now: number, declares: boolean): StepBatch {
    this.#endOffers(now);
    const held = of(this.#held, replica);
    const waiting = of(this.#waiting, replica);
    const offers = of(this.#offers, replica);
    const known = this.#known.get(replica);
    const epoch = (this.#epochs.get(replica) ?? 0) + (known === undefined || declares ? 1 : 0);
    this.#epochs.set(replica, epoch);
    const confirmed = it.confirms || declares ? [...offers.keys()] : [];
    for (const id of confirmed) offers.delete(id);
    const settled: StepSettled[] = [];
    for (const { which, outcome, ...said } of it.settled) {
      const ids = [...held.keys()].filter((id) => !offers.has(id));
      const lease = held.get(ids[which % Math.max(1, ids.length)] ?? '')?.granted;
      if (lease === undefined) continue;
      held.delete(lease[0]);
      settled.push(outcome === 'answered' ? [...lease, outcome, said] : [...lease, outcome]);
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
    const holding = declares ? [...held.keys()] : confirmed;
    return {
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
      held: holding.flatMap((id): StepHeld[] => {
        const lease = held.get(id);
        return lease === undefined ? [] : [[...lease.granted, now - lease.since]];
      }),
      settled,
      stock: 0,
      wants: 0,
      gone,
      tickets: declares ? [...kept, ...fresh] : fresh,
    };
  }

  /** Other replicas than the one that steps, whose offers would end by then. */
  losers(stepping: number, by: number): number[] {
    return REPLICAS.flatMap((name, replica) => {
      const ends = [...of(this.#offers, name).values()];
      return replica !== stepping && ends.some((endsAt) => endsAt <= by) ? [replica] : [];
    });
  }

  heard(replica: string, said: StepOutcome, lineage: string, revision: number, now: number): void {
    this.#known.set(replica, { lineage, revision });
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
