import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Heap, type HeapItem } from '../../src/util/heap.ts';

describe('the heap', () => {
  interface Item extends HeapItem {
    key: number;
  }

  const steps = fc.array(
    fc.tuple(fc.constantFrom('add', 'take', 'remove', 'move'), fc.nat(40), fc.nat(40)),
    { maxLength: 200 },
  );

  test('has the least item first, whatever items were removed or moved', () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const heap = new Heap<Item>((a, b) => a.key < b.key);
        const inside: Item[] = [];
        const actual: unknown[] = [];
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
            actual.push(taken?.key ?? Infinity, taken?.heapIndex ?? -1);
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
          actual.push(heap.size, heap.first?.key ?? Infinity, new Set(heap.items));
          const least = Math.min(...inside.map(({ key }) => key));
          expected.push(inside.length, least, new Set(inside));
        }
        expect(actual).toEqual(expected);
      }),
    );
  });

  test('ignores items that are in another heap or in none', () => {
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

  test('finds an item among the first ones in their order, and changes nothing', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(100), { maxLength: 40 }),
        fc.nat(20),
        fc.nat(6),
        (keys, n, part) => {
          const heap = new Heap<Item>((a, b) => a.key < b.key);
          for (const key of keys) heap.add({ key, heapIndex: -1 });
          const isWanted = ({ key }: Item): boolean => key % 7 === part;
          const sorted = heap.items.toSorted((a, b) => a.key - b.key);
          const before = [...heap.items];
          expect(heap.find(n, isWanted)?.key).toBe(sorted.slice(0, n).find(isWanted)?.key);
          expect(heap.items).toEqual(before);
        },
      ),
    );
  });
});
