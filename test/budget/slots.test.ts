import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
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

  test('behave as a sorted list of times', () => {
    fc.assert(
      fc.property(steps, at, (plan, probe) => {
        const slots = new Slots();
        let list: number[] = [];
        const actual: unknown[] = [];
        const expected: unknown[] = [];
        for (const [kind, value] of plan) {
          if (kind === 'add') {
            slots.add(value, 50);
            list = [...list, value].sort((a, b) => a - b);
          } else if (kind === 'take') {
            actual.push(slots.takeUntil(value));
            expected.push(list.filter((time) => time <= value).length);
            list = list.filter((time) => time > value);
          } else if (kind === 'keep') {
            slots.keepLast(value);
            list = value === 0 ? [] : list.slice(-value);
          } else {
            slots.move(value);
            list = list.map((time) => time + value);
          }
          actual.push(slots.size, slots.first, slots.nth(3), slots.countBefore(probe));
          const before = list.filter((time) => time < probe).length;
          expected.push(list.length, list[0], list[3], before);
        }
        actual.push(slots.entries().flatMap(([time, count]) => Array<number>(count).fill(time)));
        expected.push(list);
        expect(actual).toEqual(expected);
      }),
    );
  });

  test('have bounded entries, lose no slot and return none early, however many are added', () => {
    const slots = new Slots();
    const lateBy: number[] = [];
    for (let i = 0; i < 20_000; i++) slots.add(i * 3.7, 74_000);
    expect(slots.size).toBe(20_000);
    expect(slots.entries().length).toBeLessThanOrEqual(4096);
    for (let i = 0; i < 20_000; i += 97) {
      const returned = 20_000 - slots.size + slots.takeUntil(i * 3.7);
      expect(returned).toBeLessThanOrEqual(i + 1);
      lateBy.push(i + 1 - returned);
    }
    // At most one or two grains of the period late: 36 ms, ten slots.
    expect(Math.max(...lateBy)).toBeLessThanOrEqual(25);
  });

  test('are empty after clear', () => {
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
