import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addItem, operationsAhead, removeItem, takeItem } from '../../src/queue/fair-queue.ts';
import type { Priority, QueueItem } from '../../src/queue/flow.ts';
import { type MemoryItem, MemoryQueue } from '../../src/queue/memory-queue.ts';
import { NaiveFairQueue } from '../support/naive-fair-queue.ts';

interface Ticket extends MemoryItem<Ticket> {
  readonly id: number;
}

let nextId = 0;
function ticket(item: Partial<QueueItem> = {}): Ticket {
  const id = nextId++;
  const { owner = 'o', caller = 'c', priority = 'normal', weight = 1, arrivedAt = id } = item;
  const { cost } = item;
  return {
    id,
    owner,
    caller,
    priority,
    weight,
    ...(cost === undefined ? {} : { cost }),
    arrivedAt,
    paid: false,
    flow: undefined,
    order: 0,
    isLinked: false,
    previous: undefined,
    next: undefined,
  };
}

/** Takes the ticket that goes next. */
function take(queue: MemoryQueue<Ticket>): Ticket | undefined {
  const { head } = queue;
  if (head !== undefined) takeItem(queue, head);
  return head;
}

type Step =
  | { readonly kind: 'add'; readonly item: QueueItem }
  | { readonly kind: 'take' }
  | { readonly kind: 'retry' }
  | { readonly kind: 'remove'; readonly nth: number };

/** Runs a plan on the queue and on the naive one; returns what each reported after each step. */
function run(plan: readonly Step[]): { actual: unknown[]; expected: unknown[] } {
  const queue = new MemoryQueue<Ticket>();
  const naive = new NaiveFairQueue<Ticket>();
  const waiting = new Set<Ticket>();
  const actual: unknown[] = [];
  const expected: unknown[] = [];
  let lastTaken: Ticket | undefined;
  for (const step of plan) {
    if (step.kind === 'add') {
      const added = ticket(step.item);
      waiting.add(added);
      addItem(queue, added);
      naive.add(added);
    } else if (step.kind === 'take') {
      lastTaken = take(queue);
      actual.push(lastTaken?.id);
      expected.push(naive.take()?.id);
      if (lastTaken !== undefined) waiting.delete(lastTaken);
    } else if (step.kind === 'retry') {
      if (lastTaken === undefined) continue;
      waiting.add(lastTaken);
      lastTaken.paid = true;
      addItem(queue, lastTaken);
      naive.add(lastTaken, { paid: true });
      lastTaken = undefined;
    } else {
      const removed = [...waiting][step.nth];
      if (removed === undefined) continue;
      waiting.delete(removed);
      removeItem(queue, removed);
      naive.remove(removed);
    }
    const operations = [...waiting].reduce((sum, { cost = 1 }) => sum + cost, 0);
    actual.push(queue.size + queue.extra, queue.head?.id, new Set(queue.items()));
    expected.push(operations, naive.head?.id, new Set(waiting));
  }
  return { actual, expected };
}

/** Takes tickets until `wanted`; returns how many others were taken before it. */
function othersBefore(queue: MemoryQueue<Ticket>, wanted: Ticket): number {
  for (let count = 0; ; count++) {
    const next = take(queue);
    if (next === wanted) return count;
    if (next === undefined) throw new Error('expected the ticket to be in the queue');
  }
}

describe('the fair queue', () => {
  const items = fc.record({
    owner: fc.constantFrom('a', 'b', 'c'),
    caller: fc.constantFrom('x', 'y', 'z'),
    priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
    // Powers of two keep the tags exact, so that both queues agree on ties.
    weight: fc.constantFrom(1, 2, 0.5),
    cost: fc.constantFrom(1, 1, 4, 32),
    arrivedAt: fc.integer({ min: 0, max: 20 }),
  });
  const steps = fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('add' as const), item: items }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('retry' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('remove' as const), nth: fc.nat(50) }),
      },
    ),
    { maxLength: 120 },
  );

  test('has the order, size and contents of the naive queue after every step', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const { actual, expected } = run(plan);
        expect(actual).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('ten thousand tickets of one caller delay a ticket of another by at most one grant', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) addItem(queue, ticket({ owner: 'greedy', caller: 'greedy' }));
    for (let i = 0; i < 50; i++) {
      const modest = ticket({ owner: 'modest', caller: 'modest' });
      addItem(queue, modest);
      expect(othersBefore(queue, modest)).toBeLessThanOrEqual(1);
    }
  });

  test('callers of one address that wait for each answer share evenly with a greedy one', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) addItem(queue, ticket({ caller: 'greedy' }));
    const served = new Map<string, number>();
    const idle: string[] = [];
    for (const caller of ['b', 'c', 'd', 'e']) addItem(queue, ticket({ caller }));
    for (let i = 0; i < 1000; i++) {
      const { caller } = take(queue) ?? ticket();
      served.set(caller, (served.get(caller) ?? 0) + 1);
      // A modest caller sends its next request when it has its answer, one grant later.
      const next = idle.shift();
      if (next !== undefined) addItem(queue, ticket({ caller: next }));
      if (caller !== 'greedy') idle.push(caller);
    }
    expect((served.get('greedy') ?? 0) / 1000).toBeLessThanOrEqual(0.25);
  });

  test('three hundred low tickets delay a high one by at most one grant, in any flow', () => {
    for (const caller of ['same', 'other']) {
      const queue = new MemoryQueue<Ticket>();
      for (let i = 0; i < 300; i++) addItem(queue, ticket({ caller: 'same', priority: 'low' }));
      const high = ticket({ caller, priority: 'high' });
      addItem(queue, high);
      expect(othersBefore(queue, high)).toBeLessThanOrEqual(1);
    }
  });

  test('a low ticket is not starved by a thousand high ones', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 1000; i++) addItem(queue, ticket({ caller: 'high', priority: 'high' }));
    addItem(queue, ticket({ caller: 'low', priority: 'low' }));
    const second = ticket({ caller: 'low', priority: 'low' });
    addItem(queue, second);
    expect(othersBefore(queue, second)).toBeLessThanOrEqual(102);
  });

  test('callers get shares in proportion to their weights', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 1000; i++) {
      addItem(queue, ticket({ owner: 'a', caller: 'a', weight: 3 }));
      addItem(queue, ticket({ owner: 'b', caller: 'b', weight: 1 }));
    }
    let threes = 0;
    for (let i = 0; i < 400; i++) if (take(queue)?.weight === 3) threes++;
    expect(threes).toBe(300);
  });

  test('callers get shares of the operations, whatever their tickets cost', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 1000; i++) {
      addItem(queue, ticket({ owner: 'a', caller: 'a', cost: 30 }));
      addItem(queue, ticket({ owner: 'b', caller: 'b' }));
    }
    let [costly, plain] = [0, 0];
    while (costly + plain < 900) {
      const { cost = 1 } = take(queue) ?? {};
      if (cost === 1) plain++;
      else costly += cost;
    }
    expect(Math.abs(costly - plain)).toBeLessThanOrEqual(30);
  });

  test.each(['the same address', 'another address'])(
    'a caller at %s that invents a name per request gets no more than its share',
    (where) => {
      const queue = new MemoryQueue<Ticket>();
      const owner = where === 'the same address' ? 'o' : 'p';
      for (let i = 0; i < 1000; i++) {
        addItem(queue, ticket({ owner: 'o', caller: 'honest' }));
        addItem(queue, ticket({ owner, caller: `invented-${i}` }));
      }
      let honest = 0;
      for (let i = 0; i < 400; i++) if (take(queue)?.caller === 'honest') honest++;
      expect(honest).toBeGreaterThanOrEqual(190);
    },
  );

  test('an owner is forgotten when none of its flows is ahead of its share', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 100; i++) addItem(queue, ticket({ owner: 'steady' }));
    addItem(queue, ticket({ owner: 'once' }));
    for (let i = 0; i < 50; i++) take(queue);
    expect([queue.owners, queue.flows]).toEqual([1, 1]);
  });

  test('an owner gains nothing by names whose tickets it removes', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 100; i++) addItem(queue, ticket({ owner: 'steady' }));
    for (let i = 0; i < 8; i++) {
      const gone = ticket({ caller: `name-${i}` });
      addItem(queue, gone);
      removeItem(queue, gone);
    }
    const ahead = operationsAhead(queue, ticket({ caller: 'another' }), 1);
    expect(ahead).toBe(9);
    // Until that is no longer ahead of the owner's share.
    for (let i = 0; i < 9; i++) take(queue);
    expect(queue.owners).toBe(1);
  });

  test('an owner is remembered while tickets wait in a flow that its further names share', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 100; i++) addItem(queue, ticket({ owner: 'steady' }));
    const all = Array.from({ length: 20 }, (_, i) => ticket({ caller: `name-${i}` }));
    for (const each of all) addItem(queue, each);
    // Thirteen names have flows of their own, which are forgotten when virtual time has passed them.
    for (const named of all.slice(0, 13)) removeItem(queue, named);
    for (let i = 0; i < 13; i++) expect(take(queue)?.owner).toBe('steady');
    expect([queue.flows, queue.owners, queue.size]).toEqual([2, 2, 94]);
  });

  test('an owner is forgotten in time, though another one is remembered for longer than before', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 100; i++) addItem(queue, ticket({ owner: 'steady' }));
    for (const owner of ['kept', 'forgotten']) {
      const gone = ticket({ owner });
      addItem(queue, gone);
      removeItem(queue, gone);
    }
    addItem(queue, ticket({ owner: 'kept', caller: 'another', cost: 50 }));
    for (let i = 0; i < 12; i++) take(queue);
    expect(queue.owners).toBe(2);
  });

  test('one owner has a bounded number of flows, of whatever priorities', () => {
    const queue = new MemoryQueue<Ticket>();
    for (const priority of ['normal', 'high', 'low'] as const) {
      for (let i = 0; i < 20; i++) addItem(queue, ticket({ caller: `name-${i}`, priority }));
    }
    // Thirteen with a name, and a shared one for each priority.
    expect(queue.flows).toBe(16);
  });

  test('the names of an owner are remembered by their last use', () => {
    const queue = new MemoryQueue<Ticket>();
    for (let i = 0; i < 100; i++) addItem(queue, ticket({ owner: 'steady' }));
    const named = (name: number): Ticket => ticket({ caller: `name-${name}` });
    // As many names as are remembered, one behind the other in virtual time.
    for (let i = 0; i < 13; i++) addItem(queue, named(i));
    for (let i = 0; i < 12; i++) take(queue);
    addItem(queue, named(0));
    addItem(queue, named(13));
    for (let i = 0; i < 6; i++) take(queue);
    const [again, first, second] = [0, 1, 2].map((i) => operationsAhead(queue, named(i), 1) ?? NaN);
    expect(second).toBe(again);
    expect(first).toBeGreaterThan(again ?? NaN);
  });

  test('remembers a bounded number of idle flows, however many owners there are', () => {
    const queue = new MemoryQueue<Ticket>();
    // A ticket always waits and the virtual time stays 0, so each flow is ahead of its share.
    addItem(queue, ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 20_000; i++) {
      addItem(queue, ticket({ owner: `owner-${i}`, priority: 'low', arrivedAt: i }));
      expect(take(queue)?.owner).toBe(`owner-${i}`);
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
    expect(queue.owners).toBeLessThanOrEqual(4097);
  });

  test('drops idle flows for good, also of owners that used every priority', () => {
    const queue = new MemoryQueue<Ticket>();
    addItem(queue, ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 5000; i++) {
      for (const priority of ['normal', 'high', 'low'] as const) {
        addItem(queue, ticket({ owner: `owner-${i}`, priority, arrivedAt: i }));
        expect(take(queue)?.owner).toBe(`owner-${i}`);
      }
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
    expect(queue.owners).toBeLessThanOrEqual(4097);
  });

  test('bounds the idle flows of owners whose tickets are all removed', () => {
    const queue = new MemoryQueue<Ticket>();
    addItem(queue, ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 5000; i++) {
      for (const priority of ['normal', 'high', 'low'] as const) {
        const gone = ticket({ owner: `owner-${i}`, priority, arrivedAt: i });
        addItem(queue, gone);
        removeItem(queue, gone);
      }
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
  });

  test('counts all operations of a flow before its next ticket, though their costs differ', () => {
    const queue = new MemoryQueue<Ticket>();
    for (const cost of [1, 50, 2]) addItem(queue, ticket({ cost }));
    expect(operationsAhead(queue, ticket(), 1)).toBe(53);
    // At most what the other flow has.
    expect(operationsAhead(queue, ticket({ owner: 'p', priority: 'low' }), 1)).toBeLessThanOrEqual(
      53,
    );
    take(queue);
    take(queue);
    expect(operationsAhead(queue, ticket(), 1)).toBe(2);
  });

  test('counts of its own flow only what arrived before, and nothing before a retry at its head', () => {
    const queue = new MemoryQueue<Ticket>();
    const early = ticket();
    for (let i = 0; i < 3; i++) addItem(queue, ticket());
    const between = ticket();
    for (let i = 0; i < 50; i++) addItem(queue, ticket());
    expect(operationsAhead(queue, early, 1)).toBe(0);
    expect(operationsAhead(queue, between, 1)).toBe(3);
    // A flow that is ahead of its share, and a retry of it.
    const shared = new MemoryQueue<Ticket>();
    const retry = ticket({ cost: 20 });
    addItem(shared, retry);
    addItem(shared, ticket());
    for (let i = 0; i < 10; i++) addItem(shared, ticket({ owner: 'p' }));
    expect(take(shared)).toBe(retry);
    expect(operationsAhead(shared, retry, 1)).toBe(10);
    retry.paid = true;
    expect(operationsAhead(shared, retry, 1)).toBe(1);
  });

  test('drops the last ticket of the longest flow when it is full', () => {
    const queue = new MemoryQueue<Ticket>();
    addItem(queue, ticket({ caller: 'short' }));
    addItem(queue, ticket({ caller: 'long' }));
    const lastOfLongest = ticket({ caller: 'long' });
    addItem(queue, lastOfLongest);
    addItem(queue, ticket({ caller: 'newcomer' }));
    expect(queue.last).toBe(lastOfLongest);
  });

  test('counts the operations that go before an added ticket, among callers of equal weight', () => {
    const equal = fc.record({
      owner: fc.constantFrom('a', 'b', 'c'),
      caller: fc.constantFrom('x', 'y'),
      priority: fc.constant<Priority>('normal'),
      weight: fc.constant(1),
    });
    fc.assert(
      fc.property(
        fc.array(equal, { maxLength: 40 }),
        equal,
        fc.nat(10),
        fc.constantFrom(1, 7),
        fc.nat(80),
        (all, newcomer, taken, cost, place) => {
          const queue = new MemoryQueue<Ticket>();
          // Before one of them, or behind them all.
          const arrivedAt = nextId + place - 0.5;
          for (const item of all) addItem(queue, ticket({ ...item, cost }));
          for (let i = 0; i < taken; i++) take(queue);
          const added = ticket({ ...newcomer, cost, arrivedAt });
          const ahead = operationsAhead(queue, added, 1);
          addItem(queue, added);
          const before = othersBefore(queue, added) * cost;
          // Of flows with the same tag, that of the oldest head goes first, which is not counted.
          const ties = place < all.length ? 6 * cost : 0;
          expect(ahead).toBeGreaterThanOrEqual(before);
          expect(ahead).toBeLessThanOrEqual(before + ties);
        },
      ),
      { numRuns: 200 },
    );
  });
});
