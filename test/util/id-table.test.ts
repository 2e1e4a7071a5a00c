import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IdTable } from '../../src/util/id-table.ts';

describe('the id table', () => {
  interface Item {
    readonly number: number;
  }
  /** Before, at and after the number at which the lower 32 bits start again at 0. */
  const numbers = [1, 2, 77, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32 + 3, 2 ** 40 + 9];
  const items = numbers.map((number): Item => ({ number }));

  test('behaves as a Map', () => {
    const step = fc.record({ kind: fc.constantFrom('add', 'delete'), nth: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (plan) => {
        const table = new IdTable<Item>();
        const map = new Map<number, Item>();
        const actual: unknown[] = [];
        const expected: unknown[] = [];
        for (const { kind, nth } of plan) {
          const item = items[nth];
          if (item === undefined) continue;
          if (kind === 'delete') {
            actual.push(table.delete(item));
            expected.push(map.delete(item.number));
          } else if (!map.has(item.number)) {
            table.add(item);
            map.set(item.number, item);
          }
          actual.push(
            table.size,
            new Set(table.all),
            numbers.map((number) => table.get(number)),
          );
          expected.push(
            map.size,
            new Set(map.values()),
            numbers.map((number) => map.get(number)),
          );
        }
        expect(actual).toEqual(expected);
        table.clear();
        expect([table.size, table.all]).toEqual([0, []]);
      }),
    );
  });

  test('tells ids with the same lower bits apart and rejects an id that is in use', () => {
    const table = new IdTable<Item>();
    table.add({ number: 5 });
    for (const other of [2 ** 32 + 5, Number.NaN, 5.5, -1]) {
      expect(table.get(other)).toBeUndefined();
    }
    expect(table.delete({ number: 5 })).toBe(false);
    expect(() => table.add({ number: 5 })).toThrow('an unused id, got 5');
    expect(table.size).toBe(1);
  });
});
