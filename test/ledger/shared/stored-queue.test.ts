// @module-tag needs-redis-server
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bucketKeys, STEP_KEYS } from '../../../src/ledger/shared/script/step-script.ts';
import { addItem, operationsAhead, removeItem, takeItem } from '../../../src/queue/fair-queue.ts';
import type { Priority } from '../../../src/queue/flow.ts';
import { type MemoryItem, MemoryQueue } from '../../../src/queue/memory-queue.ts';
import { PREFIX } from '../../support/redis-step.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { ROOT } from '../../support/spawned.ts';

interface Ticket extends MemoryItem<Ticket> {
  readonly id: string;
}

function part(file: string): string {
  return readFileSync(join(ROOT, 'src/ledger/shared/script', `${file}.lua`), 'utf8');
}

/** Changes the queue in Redis as a step does: ARGV[1] is 'add', 'take' or 'remove', ARGV[2] the ticket. */
const SCRIPT = `${part('keys')}
local FairQueue = (function() ${part('fair-queue')} end)()
local StoredQueue = (function() ${part('stored-queue')} end)()
local packed = redis.call('HGET', key.state, 'queue')
local queue = packed and cmsgpack.unpack(packed)
  or { virtualTime = 0, size = 0, extra = 0, order = 0, idle = 0 }
setmetatable(queue, { __index = StoredQueue })
local ticket = cjson.decode(ARGV[2])
local ahead, taken
if ARGV[1] == 'add' then
  ahead = FairQueue.operationsAhead(queue, ticket, 1)
  FairQueue.addItem(queue, ticket)
elseif ARGV[1] == 'remove' then
  FairQueue.removeItem(queue, queue:find(ticket.id))
elseif queue.size > 0 then
  taken = queue:headId(queue:flowAt(0))
  FairQueue.takeItem(queue, queue:find(taken))
end
queue:save()
redis.call('HSET', key.state, 'queue', cmsgpack.pack(queue))
local last = queue.size > 0 and queue:last().id or nil
return cjson.encode({ size = queue.size, extra = queue.extra, ahead = ahead, taken = taken, last = last })
`;

/** The fields of a ticket that the script reads. */
const SENT = ['id', 'owner', 'caller', 'priority', 'weight', 'cost', 'arrivedAt', 'paid'];

const event = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'take', 'take', 'remove', 'retry'),
  which: fc.nat(),
  ticket: fc.record({
    owner: fc.constantFrom('a', 'b', 'c'),
    // Enough for an owner to have more names than named flows.
    caller: fc.oneof(fc.constantFrom('x', 'y'), fc.nat(30).map(String)),
    priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
    weight: fc.constantFrom(1, 1, 2, 0.5),
    cost: fc.constantFrom(undefined, undefined, 1, 3, 50),
    arrivedAt: fc.nat(20),
  }),
});

type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

/** The queue in this process, and what a change of it shows. */
class Expected {
  readonly #queue = new MemoryQueue<Ticket>();
  readonly #tickets: Ticket[] = [];

  /** The change that the event stands for; `undefined` when it needs a ticket and there is none. */
  change({ kind, which, ticket }: Event): { kind: string; ticket?: Ticket } | undefined {
    if (kind === 'take') return { kind };
    if (kind === 'add') {
      const { cost, ...fields } = ticket;
      const id = `t${this.#tickets.length}`;
      const queued = { paid: false, flow: undefined, order: 0 };
      const links = { isLinked: false, previous: undefined, next: undefined };
      const added = { id, ...fields, ...(cost === undefined ? {} : { cost }), ...queued, ...links };
      this.#tickets.push(added);
      return { kind, ticket: added };
    }
    const isRetry = kind === 'retry';
    const candidates = this.#tickets.filter(({ flow }) => (flow === undefined) === isRetry);
    const chosen = candidates[which % Math.max(1, candidates.length)];
    if (chosen === undefined) return undefined;
    if (isRetry) chosen.paid = true;
    return { kind: isRetry ? 'add' : kind, ticket: chosen };
  }

  apply(kind: string, ticket: Ticket | undefined): Record<string, unknown> {
    const queue = this.#queue;
    let ahead: number | undefined;
    let taken: string | undefined;
    if (kind === 'take') {
      taken = queue.head?.id;
      if (queue.head !== undefined) takeItem(queue, queue.head);
    } else if (ticket !== undefined) {
      if (kind === 'add') ahead = operationsAhead(queue, ticket, 1);
      if (kind === 'add') addItem(queue, ticket);
      else removeItem(queue, ticket);
    }
    const { size, extra, last } = queue;
    return { size, extra, ahead, taken, last: last?.id };
  }
}

describe('the queue in Redis', () => {
  let redis: RedisServer;
  let queues = 0;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  async function inRedis(bucket: string, kind: string, ticket?: Ticket): Promise<unknown> {
    const keys = bucketKeys(PREFIX, bucket);
    const text = JSON.stringify(ticket ?? {}, SENT);
    const reply = await redis.client.eval(SCRIPT, STEP_KEYS, ...keys, kind, text);
    return JSON.parse(String(reply));
  }

  test('has the order of the one in this process, also where tickets differ in cost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 10, maxLength: 80 }), async (story) => {
        const bucket = `q${++queues}`;
        const expected = new Expected();
        for (const it of story) {
          const change = expected.change(it);
          if (change === undefined) continue;
          const { kind, ticket } = change;
          const actual = await inRedis(bucket, kind, ticket);
          const shown = Object.entries(expected.apply(kind, ticket));
          expect(actual).toEqual(
            Object.fromEntries(shown.filter(([, value]) => value !== undefined)),
          );
        }
      }),
      { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 150) },
    );
  });
});
