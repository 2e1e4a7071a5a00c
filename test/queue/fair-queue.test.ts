import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FairQueue, type Priority, type Queued, type Turn } from '../../src/queue/fair-queue.ts';
import { NaiveFairQueue } from '../support/naive-fair-queue.ts';

interface Ticket extends Queued<Ticket> {
  readonly id: number;
}

let ids = 0;
function ticket(turn: Partial<Turn> = {}): Ticket {
  const id = ids++;
  const { owner = 'o', caller = 'c', priority = 'normal', weight = 1, arrivedAt = id } = turn;
  return { id, owner, caller, priority, weight, arrivedAt, place: undefined };
}

type Step =
  | { readonly kind: 'add'; readonly turn: Turn }
  | { readonly kind: 'take' }
  | { readonly kind: 'again' }
  | { readonly kind: 'leave'; readonly nth: number };

/** What the queue says after each step, and what it should. */
function follow(plan: readonly Step[]): { said: unknown[]; expected: unknown[] } {
  const queue = new FairQueue<Ticket>();
  const naive = new NaiveFairQueue<Ticket>();
  const waiting = new Set<Ticket>();
  const said: unknown[] = [];
  const expected: unknown[] = [];
  let lastTaken: Ticket | undefined;
  for (const step of plan) {
    if (step.kind === 'add') {
      const one = ticket(step.turn);
      waiting.add(one);
      queue.add(one);
      naive.add(one);
    } else if (step.kind === 'take') {
      lastTaken = queue.take();
      said.push(lastTaken?.id);
      expected.push(naive.take()?.id);
      if (lastTaken !== undefined) waiting.delete(lastTaken);
    } else if (step.kind === 'again') {
      if (lastTaken === undefined) continue;
      waiting.add(lastTaken);
      queue.add(lastTaken, { paid: true });
      naive.add(lastTaken, { paid: true });
      lastTaken = undefined;
    } else {
      const signal = [...waiting][step.nth];
      if (signal === undefined) continue;
      waiting.delete(signal);
      said.push(queue.remove(signal), queue.remove(signal));
      expected.push(true, false);
      naive.remove(signal);
    }
    said.push(queue.size, queue.head?.id, new Set(queue.tickets()));
    expected.push(waiting.size, naive.head?.id, new Set(waiting));
  }
  return { said, expected };
}

/** Takes until `wanted` comes; says how many others went before it. */
function othersBefore(queue: FairQueue<Ticket>, wanted: Ticket): number {
  for (let count = 0; ; count++) {
    const next = queue.take();
    if (next === wanted) return count;
    if (next === undefined) throw new Error('expected the ticket to be in the queue');
  }
}

describe('the fair queue', () => {
  const turns = fc.record({
    owner: fc.constantFrom('a', 'b', 'c'),
    caller: fc.constantFrom('x', 'y', 'z'),
    priority: fc.constantFrom<Priority>('high', 'normal', 'low'),
    // Powers of two keep the tags exact, so that both ways of counting agree on ties.
    weight: fc.constantFrom(1, 2, 0.5),
    arrivedAt: fc.integer({ min: 0, max: 20 }),
  });
  const steps = fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('add' as const), turn: turns }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('again' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), nth: fc.nat(50) }) },
    ),
    { maxLength: 120 },
  );

  test('gives the order of the definition, step by step, and keeps its books', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const { said, expected } = follow(plan);
        expect(said).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('a caller with ten thousand waiting delays another by at most one of its own a grant', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) queue.add(ticket({ owner: 'greedy', caller: 'greedy' }));
    for (let i = 0; i < 50; i++) {
      const one = ticket({ owner: 'modest', caller: 'modest' });
      queue.add(one);
      expect(othersBefore(queue, one)).toBeLessThanOrEqual(1);
    }
  });

  test('callers behind one address that ask one after the other share evenly with a greedy one', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 10_000; i++) queue.add(ticket({ caller: 'greedy' }));
    const served = new Map<string, number>();
    const resting: string[] = [];
    for (const caller of ['b', 'c', 'd', 'e']) queue.add(ticket({ caller }));
    for (let i = 0; i < 1000; i++) {
      const { caller } = queue.take() ?? ticket();
      served.set(caller, (served.get(caller) ?? 0) + 1);
      // A modest caller asks again once its answer is there, one grant later.
      const again = resting.shift();
      if (again !== undefined) queue.add(ticket({ caller: again }));
      if (caller !== 'greedy') resting.push(caller);
    }
    expect((served.get('greedy') ?? 0) / 1000).toBeLessThanOrEqual(0.25);
  });

  test('three hundred low tickets delay a high one by at most one grant, of the same caller too', () => {
    for (const caller of ['same', 'other']) {
      const queue = new FairQueue<Ticket>();
      for (let i = 0; i < 300; i++) queue.add(ticket({ caller: 'same', priority: 'low' }));
      const high = ticket({ caller, priority: 'high' });
      queue.add(high);
      expect(othersBefore(queue, high)).toBeLessThanOrEqual(1);
    }
  });

  test('nothing starves: a low ticket goes in the midst of high ones', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 1000; i++) queue.add(ticket({ caller: 'high', priority: 'high' }));
    queue.add(ticket({ caller: 'low', priority: 'low' }));
    const second = ticket({ caller: 'low', priority: 'low' });
    queue.add(second);
    expect(othersBefore(queue, second)).toBeLessThanOrEqual(102);
  });

  test('weights share in proportion', () => {
    const queue = new FairQueue<Ticket>();
    for (let i = 0; i < 1000; i++) {
      queue.add(ticket({ owner: 'a', caller: 'a', weight: 3 }));
      queue.add(ticket({ owner: 'b', caller: 'b', weight: 1 }));
    }
    let threes = 0;
    for (let i = 0; i < 400; i++) if (queue.take()?.weight === 3) threes++;
    expect(threes).toBe(300);
  });

  test.each(['same address', 'another address'])(
    'a caller that invents a name per request gains nothing, from %s',
    (where) => {
      const queue = new FairQueue<Ticket>();
      const owner = where === 'same address' ? 'o' : 'p';
      for (let i = 0; i < 1000; i++) {
        queue.add(ticket({ owner: 'o', caller: 'honest' }));
        queue.add(ticket({ owner, caller: `invented-${i}` }));
      }
      let honest = 0;
      for (let i = 0; i < 400; i++) if (queue.take()?.caller === 'honest') honest++;
      expect(honest).toBeGreaterThanOrEqual(190);
    },
  );

  test('remembers a bounded number of idle flows, whoever sends', () => {
    const queue = new FairQueue<Ticket>();
    // Always somebody waits, and the virtual time stands still: each flow is ahead of its share.
    queue.add(ticket({ owner: 'patient', priority: 'low', arrivedAt: 1e12 }));
    for (let i = 0; i < 20_000; i++) {
      queue.add(ticket({ owner: `owner-${i}`, priority: 'low', arrivedAt: i }));
      expect(queue.take()?.owner).toBe(`owner-${i}`);
    }
    expect(queue.flows).toBeLessThanOrEqual(4097);
  });

  test('the last ticket of the longest flow leaves when the queue is full', () => {
    const queue = new FairQueue<Ticket>();
    queue.add(ticket({ caller: 'short' }));
    const [, longest] = [ticket({ caller: 'long' }), ticket({ caller: 'long' })].map((one) => {
      queue.add(one);
      return one;
    });
    queue.add(ticket({ caller: 'newcomer' }));
    expect(queue.last).toBe(longest);
  });

  test('knows how many go before a newcomer, among callers of equal weight', () => {
    const equal = fc.record({
      owner: fc.constantFrom('a', 'b', 'c'),
      caller: fc.constantFrom('x', 'y'),
      priority: fc.constant<Priority>('normal'),
      weight: fc.constant(1),
    });
    fc.assert(
      fc.property(fc.array(equal, { maxLength: 40 }), equal, fc.nat(10), (all, newcomer, taken) => {
        const queue = new FairQueue<Ticket>();
        for (const turn of all) queue.add(ticket(turn));
        for (let i = 0; i < taken; i++) queue.take();
        const one = ticket(newcomer);
        const ahead = queue.ahead(one);
        queue.add(one);
        expect(othersBefore(queue, one)).toBe(ahead);
      }),
      { numRuns: 200 },
    );
  });
});
