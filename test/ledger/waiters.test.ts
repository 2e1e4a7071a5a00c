import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deadlines, type Deadline } from '../../src/ledger/waiters.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface Item extends Deadline {
  readonly name: number;
}

test('each deadline that was not removed passes at its time, in order', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), inMs: fc.nat(50) }),
    fc.record({ kind: fc.constant('delete' as const), nth: fc.nat(10) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (plan) => {
      const clock = new FakeClock();
      const passed: [name: number, at: number][] = [];
      const deadlines = new Deadlines<Item>(clock, ({ name }) => passed.push([name, clock.now()]));
      const expected: [name: number, at: number][] = [];
      let pending: Item[] = [];
      const pass = (ms: number): void => {
        const until = clock.now() + ms;
        const due = pending.filter(({ dueAt }) => dueAt <= until);
        pending = pending.filter(({ dueAt }) => dueAt > until);
        for (const { name, dueAt } of due.sort((a, b) => a.dueAt - b.dueAt)) {
          expected.push([name, dueAt]);
        }
        clock.advance(ms);
      };
      for (const [name, each] of plan.entries()) {
        if (each.kind === 'add') {
          // No two at once, as their order would be undefined.
          const item = { name, dueAt: clock.now() + each.inMs + name / 100, heapIndex: -1 };
          pending.push(item);
          deadlines.add(item);
        } else if (each.kind === 'delete') {
          const item = pending[each.nth];
          if (item !== undefined) deadlines.delete(item);
          pending = pending.filter((other) => other !== item);
        } else pass(each.ms);
      }
      expect(clock.pending).toBe(pending.length === 0 ? 0 : 1);
      pass(100);
      expect(passed).toEqual(expected);
      expect(clock.pending).toBe(0);
    }),
  );
});

test('a passed deadline may remove others and add new ones', () => {
  const clock = new FakeClock();
  const passed: number[] = [];
  const itemOf = (name: number, dueAt: number): Item => ({ name, dueAt, heapIndex: -1 });
  const other = itemOf(2, clock.now() + 10);
  const deadlines: Deadlines<Item> = new Deadlines<Item>(clock, ({ name, dueAt }) => {
    passed.push(name);
    if (name !== 1) return;
    deadlines.delete(other);
    deadlines.add(itemOf(3, dueAt + 5));
  });
  deadlines.add(itemOf(1, clock.now() + 10));
  deadlines.add(other);
  clock.advance(10);
  expect(passed).toEqual([1]);
  clock.advance(5);
  expect(passed).toEqual([1, 3]);
  expect(clock.pending).toBe(0);
});

test('clearing removes all deadlines and the timer', () => {
  const clock = new FakeClock();
  const passed: Item[] = [];
  const deadlines = new Deadlines<Item>(clock, (item) => passed.push(item));
  for (let name = 0; name < 3; name++) {
    deadlines.add({ name, dueAt: clock.now() + name, heapIndex: -1 });
  }
  deadlines.clear();
  clock.advance(10);
  expect(passed).toEqual([]);
  expect(clock.pending).toBe(0);
});
