import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Heap, type HeapItem } from '../../src/util/heap.ts';
import { WindowedMax } from '../../src/util/windowed-max.ts';
import { IdTable } from '../../src/util/id-table.ts';
import { LinkedList, type LinkedListItem } from '../../src/util/linked-list.ts';
import { Slots } from '../../src/budget/slots.ts';

describe('the slots', () => {
  const at = fc.integer({ min: 0, max: 50 });
  const steps = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.constant('add' as const), at) },
      fc.tuple(fc.constant('take' as const), at),
      fc.tuple(fc.constant('keep' as const), at),
      fc.tuple(fc.constant('move' as const), at),
    ),
    { maxLength: 150 },
  );

  test('are a sorted list of times', () => {
    fc.assert(
      fc.property(steps, at, (plan, probe) => {
        const slots = new Slots();
        let list: number[] = [];
        const said: unknown[] = [];
        const expected: unknown[] = [];
        for (const [kind, value] of plan) {
          if (kind === 'add') {
            slots.add(value, 50);
            list = [...list, value].sort((a, b) => a - b);
          } else if (kind === 'take') {
            said.push(slots.takeUntil(value));
            expected.push(list.filter((time) => time <= value).length);
            list = list.filter((time) => time > value);
          } else if (kind === 'keep') {
            slots.keepLast(value);
            list = value === 0 ? [] : list.slice(-value);
          } else {
            slots.move(value);
            list = list.map((time) => time + value);
          }
          said.push(slots.size, slots.first, slots.nth(3), slots.countBefore(probe));
          const before = list.filter((time) => time < probe).length;
          expected.push(list.length, list[0], list[3], before);
        }
        said.push(slots.entries().flatMap(([time, count]) => Array<number>(count).fill(time)));
        expected.push(list);
        expect(said).toEqual(expected);
      }),
    );
  });

  test('stay bounded, lose none and give none back early, however many are added', () => {
    const slots = new Slots();
    const late: number[] = [];
    for (let i = 0; i < 20_000; i++) slots.add(i * 3.7, 74_000);
    expect(slots.size).toBe(20_000);
    expect(slots.entries().length).toBeLessThanOrEqual(4096);
    for (let i = 0; i < 20_000; i += 97) {
      const back = 20_000 - slots.size + slots.takeUntil(i * 3.7);
      expect(back).toBeLessThanOrEqual(i + 1);
      late.push(i + 1 - back);
    }
    // By no more than a grain or two of the period: 36 ms, ten slots.
    expect(Math.max(...late)).toBeLessThanOrEqual(25);
  });

  test('are cleared', () => {
    const slots = new Slots();
    slots.add(1, 10);
    slots.clear();
    expect([slots.size, slots.first, slots.nth(0), slots.entries()]).toEqual([
      0,
      undefined,
      undefined,
      [],
    ]);
  });
});

describe('the heap', () => {
  interface Item extends HeapItem {
    key: number;
  }

  const steps = fc.array(
    fc.tuple(fc.constantFrom('add', 'take', 'remove', 'move'), fc.nat(40), fc.nat(40)),
    { maxLength: 200 },
  );

  test('gives the least first, whatever was removed or moved from the middle', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const heap = new Heap<Item>((a, b) => a.key < b.key);
        const inside: Item[] = [];
        const said: unknown[] = [];
        const expected: unknown[] = [];
        for (const [kind, value, nth] of plan) {
          const item = inside[nth % Math.max(1, inside.length)];
          if (kind === 'add') {
            const added = { key: value, heapIndex: -1 };
            heap.add(added);
            inside.push(added);
          } else if (kind === 'take') {
            const least = Math.min(...inside.map(({ key }) => key));
            const taken = heap.take();
            said.push(taken?.key ?? Infinity, taken?.heapIndex ?? -1);
            expected.push(least, -1);
            if (taken !== undefined) inside.splice(inside.indexOf(taken), 1);
          } else if (item !== undefined && kind === 'remove') {
            heap.remove(item);
            heap.remove(item);
            inside.splice(inside.indexOf(item), 1);
          } else if (item !== undefined) {
            item.key = value;
            heap.moved(item);
          }
          said.push(heap.size, heap.first?.key ?? Infinity, new Set(heap));
          const least = Math.min(...inside.map(({ key }) => key));
          expected.push(inside.length, least, new Set(inside));
        }
        expect(said).toEqual(expected);
      }),
    );
  });

  test('leaves alone what is in another heap, or in none', () => {
    const before = (a: Item, b: Item): boolean => a.key < b.key;
    const [one, other] = [new Heap<Item>(before), new Heap<Item>(before)];
    const item = { key: 1, heapIndex: -1 };
    one.add({ key: 0, heapIndex: -1 });
    other.add(item);
    one.remove(item);
    one.moved(item);
    expect([one.size, other.size, other.first]).toEqual([1, 1, item]);
    other.clear();
    expect([other.size, item.heapIndex, other.take()]).toEqual([0, -1, undefined]);
  });
});

describe('the largest seen', () => {
  test('is that of the last span at least, and of no more than twice as many', () => {
    const values = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 10 }), (all, span) => {
        const largest = new WindowedMax();
        for (const [i, value] of all.entries()) {
          largest.add(value, span);
          const seen = all.slice(0, i + 1);
          expect(largest.value).toBeGreaterThanOrEqual(Math.max(...seen.slice(-span)));
          expect(largest.value).toBeLessThanOrEqual(Math.max(...seen.slice(-2 * span)));
        }
      }),
    );
  });

  test('is nothing before the first', () => {
    expect(new WindowedMax().value).toBeUndefined();
  });
});

describe('the roll', () => {
  interface Item extends LinkedListItem<Item> {
    readonly name: number;
  }
  const nameOf = ({ name }: Item): number => name;
  const itemOf = (name: number): Item => {
    return { name, isLinked: false, previous: undefined, next: undefined };
  };

  test('is a set in the order of coming', () => {
    const step = fc.record({ kind: fc.constantFrom('add', 'leave', 'first'), nth: fc.nat(8) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (plan) => {
        const roll = new LinkedList<Item>();
        const set = new Set<Item>();
        const items = Array.from({ length: 9 }, (_, i) => itemOf(i));
        const said: unknown[] = [];
        const expected: unknown[] = [];
        for (const { kind, nth } of plan) {
          const item = kind === 'first' ? roll.first : items[nth];
          if (item === undefined) continue;
          if (kind !== 'add') {
            said.push(roll.delete(item));
            expected.push(set.delete(item));
          } else if (!item.isLinked) {
            roll.add(item);
            set.add(item);
          }
          said.push(roll.size, roll.first?.name, roll.all.map(nameOf));
          const all = [...set].map(nameOf);
          expected.push(set.size, all[0], all);
        }
        expect(said).toEqual(expected);
      }),
    );
  });

  test('leaves nothing in who left that leads to who came later', () => {
    const roll = new LinkedList<Item>();
    const items = [itemOf(1), itemOf(2), itemOf(3)];
    for (const item of items) roll.add(item);
    for (const item of items) roll.delete(item);
    expect(items).toEqual([itemOf(1), itemOf(2), itemOf(3)]);
  });

  test('takes nobody twice', () => {
    const roll = new LinkedList<Item>();
    const item = itemOf(1);
    roll.add(item);
    expect(() => roll.add(item)).toThrow('roll');
    expect(() => new LinkedList<Item>().add(item)).toThrow('roll');
  });
});

describe('what is numbered', () => {
  interface Item {
    readonly number: number;
  }
  /** Before, at and after where the lower 32 bits begin anew. */
  const numbers = [1, 2, 77, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32 + 3, 2 ** 40 + 9];
  const items = numbers.map((number): Item => ({ number }));

  test('is found by its number, as in a Map', () => {
    const step = fc.record({ kind: fc.constantFrom('add', 'delete'), nth: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (plan) => {
        const numbered = new IdTable<Item>();
        const map = new Map<number, Item>();
        const said: unknown[] = [];
        const expected: unknown[] = [];
        for (const { kind, nth } of plan) {
          const item = items[nth];
          if (item === undefined) continue;
          if (kind === 'delete') {
            said.push(numbered.delete(item));
            expected.push(map.delete(item.number));
          } else if (!map.has(item.number)) {
            numbered.add(item);
            map.set(item.number, item);
          }
          said.push(
            numbered.size,
            new Set(numbered.all),
            numbers.map((one) => numbered.get(one)),
          );
          expected.push(
            map.size,
            new Set(map.values()),
            numbers.map((one) => map.get(one)),
          );
        }
        expect(said).toEqual(expected);
        numbered.clear();
        expect([numbered.size, numbered.all]).toEqual([0, []]);
      }),
    );
  });

  test('is not taken for another one, nor found by what is no number of ours', () => {
    const numbered = new IdTable<Item>();
    numbered.add({ number: 5 });
    for (const other of [2 ** 32 + 5, Number.NaN, 5.5, -1]) {
      expect(numbered.get(other)).toBeUndefined();
    }
    expect(numbered.delete({ number: 5 })).toBe(false);
    expect(() => numbered.add({ number: 5 })).toThrow('5 came again');
    expect(numbered.size).toBe(1);
  });
});
