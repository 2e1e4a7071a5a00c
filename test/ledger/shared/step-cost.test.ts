// @module-tag needs-redis-server
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { bucketKeys } from '../../../src/ledger/shared/script/step-script.ts';
import {
  readReply,
  type StepBatch,
  type StepSettled,
  type StepTicket,
} from '../../../src/ledger/shared/wire.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { makeTimedStep, PREFIX } from '../../support/redis-step.ts';

const AT_MS = 1_790_000_000_000;
const FLOWS = 20;

/**
 * Counts the commands that the script runs, which is the same on a busy machine: they must not grow
 * with the queue. The benchmark `steps` measures how long a step takes.
 */
describe('the cost of a step', () => {
  let redis: RedisServer;
  let timedStep: ReturnType<typeof makeTimedStep>;
  let ids = 0;
  let sequence = 0;
  let lineage = '';
  let revision = 0;

  beforeAll(async () => {
    redis = await startRedis();
    timedStep = makeTimedStep(redis.client);
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    await redis.client.flushall();
    [ids, sequence, lineage, revision] = [0, 0, '', 0];
    await step({ tickets: tickets(1) });
    await settleFirst(0);
  });

  async function settleFirst(remaining: number): Promise<void> {
    const report = { status: 200, limit: 200, remaining, resetIn: 60_000 };
    const observation = { ...report, sameWithin: 0, uncertainty: 0, random: 0 };
    await step({ settled: [['t1', 'first', 0, false, 1, 'answered', observation]] });
  }

  async function step(more: Partial<StepBatch> = {}) {
    const batch: StepBatch = {
      bucket: 'b',
      replica: 'r1',
      epoch: 1,
      sequence: ++sequence,
      lineage,
      revision,
      declares: sequence === 1,
      free: 1000,
      maxQueue: 200_000,
      sheds: 0,
      held: [],
      settled: [],
      stock: 0,
      wants: 0,
      gone: [],
      tickets: [],
      ...more,
    };
    const reply = readReply(await timedStep('b', JSON.stringify(batch), AT_MS));
    if (reply.status !== 'ok') throw new Error(`the step returned ${reply.status}`);
    ({ lineage, revision } = reply);
    // The server's own clock goes on, and would let the keys expire on a busy machine.
    if (sequence % 100 === 0) {
      await Promise.all(bucketKeys(PREFIX, 'b').map((key) => redis.client.persist(key)));
    }
    return reply;
  }

  function tickets(count: number, waitsMs = 1e9): StepTicket[] {
    return Array.from({ length: count }, (): StepTicket => {
      const flow = ++ids % FLOWS;
      return [`t${ids}`, `o${flow % 5}`, `c${flow}`, 'normal', 1, 0, waitsMs, 'new'];
    });
  }

  /** How many commands the script runs in one step. */
  async function commandsIn(more: Partial<StepBatch>): Promise<number> {
    await redis.client.config('RESETSTAT');
    await step(more);
    const stats = await redis.client.info('commandstats');
    const counts = [
      ...stats.matchAll(/^cmdstat_(?!evalsha|config|info|persist)[^:]+:calls=(\d+)/gm),
    ];
    return counts.reduce((sum, [, calls]) => sum + Number(calls), 0);
  }

  async function costs(): Promise<Record<string, number>> {
    return {
      nothing: await commandsIn({}),
      'one ticket': await commandsIn({ tickets: tickets(1) }),
      'the most tickets of one batch': await commandsIn({ tickets: tickets(256) }),
      'one forecast': await commandsIn({ tickets: tickets(1, 61_000) }),
    };
  }

  test('does not grow with the queue, up to 100,000 tickets', async () => {
    await step({ tickets: tickets(256) });
    const short = await costs();
    let waiting = 0;
    while (waiting < 100_000) waiting = (await step({ tickets: tickets(256) })).numbers.waiting;
    expect(await costs()).toEqual(short);
  });

  test('does not grow with the slots, up to 4,000', async () => {
    /** A call in a sliding log: each answer reports a reset of its own. */
    const call = async (number: number): Promise<number> => {
      const { granted } = await step({ tickets: tickets(1) });
      const report = {
        status: 200,
        limit: 5000,
        remaining: 5000 - number,
        resetIn: 60_000 + number,
      };
      const observation = { ...report, sameWithin: 0, uncertainty: 0, random: 0 };
      const settled = granted.map(([id, kind, observations, trusted]): StepSettled => {
        return [id, kind, observations, trusted, 1, 'answered', observation];
      });
      return commandsIn({ settled });
    };
    const few = await call(1);
    const commands = new Set<number>();
    for (let number = 2; number <= 4000; number++) commands.add(await call(number));
    // The step that begins a chunk stores the one before it.
    expect(Math.max(...commands)).toBeLessThanOrEqual(few + 1);
    const key = bucketKeys(PREFIX, 'b')[0] ?? '';
    const sizes = (await redis.client.hvalsBuffer(key)).map((value) => value.length);
    // What a step reads and writes of them: the list of the chunks, and at most two chunks.
    expect(Math.max(...sizes)).toBeLessThan(2000);
  });

  test('is a few commands where little happens', async () => {
    const call = (remaining: number, more: Partial<StepBatch> = {}): Partial<StepBatch> => {
      const report = { status: 200, limit: 200, remaining, resetIn: 60_000 };
      const observation = { ...report, sameWithin: 0, uncertainty: 0, random: 0 };
      return { settled: [[`t${ids}`, 'regular', 99, false, 1, 'answered', observation]], ...more };
    };
    expect(await commandsIn({})).toBe(2);
    await step(call(100));
    await step({ tickets: tickets(1) });
    expect(await commandsIn({})).toBe(3);
    const settled = call(99);
    expect(await commandsIn({ ...settled, tickets: tickets(1) })).toBe(7);
    expect(await commandsIn(call(0))).toBe(5);
    await step({ tickets: tickets(40) });
    expect(await commandsIn({})).toBe(2);
    expect(await commandsIn({ gone: [`t${ids - 39}`], tickets: tickets(1) })).toBe(13);
  });

  test('is bounded when many tickets can be granted at once', async () => {
    const before = (await step({ tickets: tickets(256) })).numbers.waiting;
    const report = { status: 200, limit: 200, remaining: 200, resetIn: 60_000 };
    const observation = { ...report, sameWithin: 0, uncertainty: 0, random: 0 };
    const reply = await step({
      settled: [['late', 'regular', 99, false, 1, 'answered', observation]],
    });
    expect(reply.granted).toHaveLength(128);
    expect(reply.wakeIn).toBe(0);
    expect(reply.numbers.waiting).toBe(before - 128);
  });
});
