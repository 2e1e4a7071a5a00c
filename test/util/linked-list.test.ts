import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LinkedList, type LinkedListItem } from '../../src/util/linked-list.ts';

describe('the linked list', () => {
  interface Item extends LinkedListItem<Item> {
    readonly name: number;
  }
  const nameOf = ({ name }: Item): number => name;
  const itemOf = (name: number): Item => {
    return { name, isLinked: false, previous: undefined, next: undefined };
  };

  test('behaves as a Set in the order of insertion', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'delete', 'delete-first'),
      nth: fc.nat(8),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (plan) => {
        const list = new LinkedList<Item>();
        const set = new Set<Item>();
        const items = Array.from({ length: 9 }, (_, i) => itemOf(i));
        const actual: unknown[] = [];
        const expected: unknown[] = [];
        for (const { kind, nth } of plan) {
          const item = kind === 'delete-first' ? list.first : items[nth];
          if (item === undefined) continue;
          if (kind !== 'add') {
            actual.push(list.delete(item));
            expected.push(set.delete(item));
          } else if (!item.isLinked) {
            list.add(item);
            set.add(item);
          }
          actual.push(list.size, list.first?.name, list.all.map(nameOf));
          const all = [...set].map(nameOf);
          expected.push(set.size, all[0], all);
        }
        expect(actual).toEqual(expected);
      }),
    );
  });

  test('takes an item behind any other one, or as the first', () => {
    const list = new LinkedList<Item>();
    const [one, two, three, four] = [itemOf(1), itemOf(2), itemOf(3), itemOf(4)];
    list.insertAfter(undefined, two);
    list.insertAfter(two, four);
    list.insertAfter(two, three);
    list.insertAfter(undefined, one);
    expect(list.all.map(nameOf)).toEqual([1, 2, 3, 4]);
    expect([list.first, list.last, list.size]).toEqual([one, four, 4]);
    const backwards: number[] = [];
    for (let item = list.last; item !== undefined; item = item.previous) backwards.push(item.name);
    expect(backwards).toEqual([4, 3, 2, 1]);
  });

  test('leaves no links in deleted items', () => {
    const list = new LinkedList<Item>();
    const items = [itemOf(1), itemOf(2), itemOf(3)];
    for (const item of items) list.add(item);
    for (const item of items) list.delete(item);
    expect(items).toEqual([itemOf(1), itemOf(2), itemOf(3)]);
  });

  test('rejects an item that is in a list already', () => {
    const list = new LinkedList<Item>();
    const item = itemOf(1);
    list.add(item);
    expect(() => list.add(item)).toThrow('in no linked list');
    expect(() => new LinkedList<Item>().add(item)).toThrow('in no linked list');
  });
});
