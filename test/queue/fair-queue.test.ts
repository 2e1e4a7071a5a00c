import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FairQueue,
  type Priority,
  type QueuedItem,
  type QueueItem,
} from '../../src/queue/fair-queue.ts';
import { NaiveFairQueue } from '../support/naive-fair-queue.ts';

interface Ticket extends QueuedItem<Ticket> {
  readonly id: number;
}

let nextId = 0;
function ticket(item: Partial<QueueItem> = {}): Ticket {
  const id = nextId++;
  const { owner = 'o', caller = 'c', priority = 'normal', weight = 1, arrivedAt = id } = item;
  return { id, owner, caller, priority, weight, arrivedAt, queueNode: undefined };
}

type Step =
  | { readonly kind: 'add'; readonly item: QueueItem }
  | { readonly kind: 'take' }
  | { readonly kind: 'retry' }
  | { readonly kind: 'remove'; readonly nth: number };

/** Runs a plan on the queue and on the naive one; returns what each reported after each step. */
function run(plan: readonly Step[]): { actual: unknown[]; expected: unknown[] } {
  const queue = new FairQueue<Ticket>();
  const naive = new NaiveFairQueue<Ticket>();
  const waiting = new Set<Ticket>();
  const actual: unknown[] = [];
  const expected: unknown[] = [];
  let lastTaken: Ticket | undefined;
  for (const step of plan) {
    if (step.kind === 'add') {
      const added = ticket(step.item);
      waiting.add(added);
      queue.add(added);
      naive.add(added);
    } else if (step.kind === 'take') {
      lastTaken = queue.take();
      actual.push(lastTaken?.id);
      expected.push(naive.take()?.id);
      if (lastTaken !== undefined) waiting.delete(lastTaken);
    } else if (step.kind === 'retry') {
      if (lastTaken === undefined) continue;
      waiting.add(lastTaken);
      queue.add(lastTaken, { paid: true });
      naive.add(lastTaken, { paid: true });
      lastTaken = undefined;
    } else {
      const removed = [...waiting][step.nth];
      if (removed === undefined) continue;
      waiting.delete(removed);
      actual.push(queue.remove(removed), queue.remove(removed));
      expected.push(true, false);
      naive.remove(removed);
    }
    actual.push(queue.size, queue.head?.id, new Set(queue.items()));
    expected.push(waiting.size, naive.head?.id, new Set(waiting));
  }
  return { actual, expected };
}

/** Takes tickets until `wanted`; returns how many others were taken before it. */
function othersBefore(queue: FairQueue<Ticket>, wanted: Ticket): number {
  for (let count = 0; ; count++) {
    const next = queue.take();
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
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) queue.add(ticket({ owner: 'greedy', caller: 'greedy' }));
    for (let i = 0; i < 50; i++) {
      const modest = ticket({ owner: 'modest', caller: 'modest' });
      queue.add(modest);
      expect(othersBefore(queue, modest)).toBeLessThanOrEqual(1);
    }
  });

  test('callers of one address that wait for each answer share evenly with a greedy one', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) queue.add(ticket({ caller: 'greedy' }));
    const served = new Map<string, number>();
    const idle: string[] = [];
    for (const caller of ['b', 'c', 'd', 'e']) queue.add(ticket({ caller }));
    for (let i = 0; i < 1000; i++) {
      const { caller } = queue.take() ?? ticket();
      served.set(caller, (served.get(caller) ?? 0) + 1);
      // A modest caller sends its next request when it has its answer, one grant later.
      const next = idle.shift();
      if (next !== undefined) queue.add(ticket({ caller: next }));
      if (caller !== 'greedy') idle.push(caller);
    }
    expect((served.get('greedy') ?? 0) / 1000).toBeLessThanOrEqual(0.25);
  });

  test('three hundred low tickets delay a high one by at most one grant, in any flow', () => {
    for (const caller of ['same', 'other']) {
      const queue = new FairQueue<Ticket>();
      for (let i = 0; i < 300; i++) queue.add(ticket({ caller: 'same', priority: 'low' }));
      const high = ticket({ caller, priority: 'high' });
      queue.add(high);
      expect(othersBefore(queue, high)).toBeLessThanOrEqual(1);
    }
  });

  test('a low ticket is not starved by a thousand high ones', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 1000; i++) queue.add(ticket({ caller: 'high', priority: 'high' }));
    queue.add(ticket({ caller: 'low', priority: 'low' }));
    const second = ticket({ caller: 'low', priority: 'low' });
    queue.add(second);
    expect(othersBefore(queue, second)).toBeLessThanOrEqual(102);
  });

  test('callers get shares in proportion to their weights', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 1000; i++) {
      queue.add(ticket({ owner: 'a', caller: 'a', weight: 3 }));
      queue.add(ticket({ owner: 'b', caller: 'b', weight: 1 }));
    }
    let threes = 0;
    for (let i = 0; i < 400; i++) if (queue.take()?.weight === 3) threes++;
    expect(threes).toBe(300);
  });

  test.each(['the same address', 'another address'])(
    'a caller at %s that invents a name per request gets no more than its share',
    (where) => {
      const queue = new FairQueue<Ticket>();
      const owner = where === 'the same address' ? 'o' : 'p';
      for (let i = 0; i < 1000; i++) {
        queue.add(ticket({ owner: 'o', caller: 'honest' }));
        queue.add(ticket({ owner, caller: `invented-${i}` }));
      }
      let honest = 0;
      for (let i = 0; i < 400; i++) if (queue.take()?.caller === 'honest') honest++;
      expect(honest).toBeGreaterThanOrEqual(190);
    },
  );

  test('remembers a bounded number of idle flows, however many owners there are', () => {
    const queue = new FairQueue<Ticket>();
    // A ticket always waits and the virtual time stays 0, so each flow is ahead of its share.
    queue.add(ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 20_000; i++) {
      queue.add(ticket({ owner: `owner-${i}`, priority: 'low', arrivedAt: i }));
      expect(queue.take()?.owner).toBe(`owner-${i}`);
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
  });

  test('drops idle flows for good, also of owners that used every priority', () => {
    const queue = new FairQueue<Ticket>();
    queue.add(ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 5000; i++) {
      for (const priority of ['normal', 'high', 'low'] as const) {
        queue.add(ticket({ owner: `owner-${i}`, priority, arrivedAt: i }));
        expect(queue.take()?.owner).toBe(`owner-${i}`);
      }
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
  });

  test('bounds the idle flows of owners whose tickets are all removed', () => {
    const queue = new FairQueue<Ticket>();
    queue.add(ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 5000; i++) {
      for (const priority of ['normal', 'high', 'low'] as const) {
        const gone = ticket({ owner: `owner-${i}`, priority, arrivedAt: i });
        queue.add(gone);
        queue.remove(gone);
      }
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
  });

  test('drops the last ticket of the longest flow when it is full', () => {
    const queue = new FairQueue<Ticket>();
    queue.add(ticket({ caller: 'short' }));
    queue.add(ticket({ caller: 'long' }));
    const lastOfLongest = ticket({ caller: 'long' });
    queue.add(lastOfLongest);
    queue.add(ticket({ caller: 'newcomer' }));
    expect(queue.last).toBe(lastOfLongest);
  });

  test('counts the tickets that go before a new one, among callers of equal weight', () => {
    const equal = fc.record({
      owner: fc.constantFrom('a', 'b', 'c'),
      caller: fc.constantFrom('x', 'y'),
      priority: fc.constant<Priority>('normal'),
      weight: fc.constant(1),
    });
    fc.assert(
      fc.property(fc.array(equal, { maxLength: 40 }), equal, fc.nat(10), (all, newcomer, taken) => {
        const queue = new FairQueue<Ticket>();
        for (const item of all) queue.add(ticket(item));
        for (let i = 0; i < taken; i++) queue.take();
        const added = ticket(newcomer);
        const ahead = queue.ahead(added);
        queue.add(added);
        expect(othersBefore(queue, added)).toBe(ahead);
      }),
      { numRuns: 200 },
    );
  });
});
